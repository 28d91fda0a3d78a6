// What axe calls rules: names of controls, one h1 and no level skipped, landmarks, no text outside of them, unique ids.
() => {
  const all = (selector) => [...document.querySelectorAll(selector)], bad = [];
  for (const node of all("button, input, select, a, [tabindex], [role=img], section")) {
    const named = (node.getAttribute("aria-labelledby") ?? "").split(" ").map((id) => document.getElementById(id)?.textContent).join("");
    const name = named || node.getAttribute("aria-label") || node.labels?.[0]?.textContent || node.textContent;
    if (!name.trim()) bad.push("no name: " + node.outerHTML.slice(0, 60));
  }
  const levels = all("h1, h2, h3, h4").map((node) => Number(node.tagName[1]));
  if (levels.filter((level) => level === 1).length !== 1 || levels[0] !== 1) bad.push("h1");
  levels.forEach((level, index) => index && level > levels[index - 1] + 1 && bad.push("heading " + index));
  for (const name of ["header", "main", "footer"]) if (all("body > " + name).length !== 1) bad.push(name);
  const outside = [...document.body.childNodes].filter((node) => !["HEADER", "MAIN", "FOOTER"].includes(node.nodeName) && node.textContent.trim());
  if (outside.length) bad.push("text outside of landmarks");
  const ids = all("[id]").map((node) => node.id);
  if (new Set(ids).size !== ids.length) bad.push("ids");
  for (const node of all("[aria-labelledby], [aria-describedby]"))
    for (const id of [node.getAttribute("aria-labelledby"), node.getAttribute("aria-describedby")])
      if (id && !document.getElementById(id)) bad.push("no " + id);
  for (const node of all("svg")) if (node.getAttribute("aria-hidden") !== "true" && node.getAttribute("role") !== "img") bad.push("svg " + node.id);
  if (!document.documentElement.lang || !document.title) bad.push("lang or title");
  return bad;
}

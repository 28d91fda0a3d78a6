// Contrast of every text with what lies behind it, as WCAG 2.2 computes it; large text (24 px, or bold 18.7 px) needs 3.
() => {
  const parts = (text) => (text.match(/[\d.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const [r, g, b, alpha = 1] = parts(getComputedStyle(node).backgroundColor);
      if (alpha === 1 && r !== undefined) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const bad = [];
  let texts = 0;
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text = walk.nextNode(); text; text = walk.nextNode()) {
    const node = text.parentElement, style = getComputedStyle(node);
    if (!text.textContent.trim() || !node.checkVisibility() || node.closest("noscript, script, option")) continue;
    texts += 1;
    const [one, other] = [light(parts(style.color)), light(behind(node))].sort((a, b) => b - a);
    const size = parseFloat(style.fontSize), needs = size >= 24 || (size >= 18.7 && style.fontWeight >= 700) ? 3 : 4.5;
    const ratio = (one + 0.05) / (other + 0.05);
    if (ratio < needs) bad.push(`${text.textContent.trim().slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return { texts, bad };
}

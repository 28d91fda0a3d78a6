const article = document.getElementById("article");
for (let n = 1; n <= 300; n += 1) {
  const paragraph = document.createElement("p");
  paragraph.textContent = `Paragraph ${n}. People stop to read, go back, and skip; programs seldom do.`;
  article.append(paragraph);
}

// Under a strict Content-Security-Policy: no inline script, no eval.
unjoin.page({ example: "form" });

for (const button of document.querySelectorAll("[data-task]")) {
  button.addEventListener("click", () => {
    unjoin.label(button.dataset.task, button.dataset.answer);
    document.getElementById("said").textContent = "Thank you.";
  });
}

document.getElementById("form").addEventListener("submit", (submit) => {
  submit.preventDefault();
  unjoin.label("signs-0004", submit.target.sign.value, "text_answer");
  unjoin.track("form sent");
  document.getElementById("said").textContent = "Thank you.";
});

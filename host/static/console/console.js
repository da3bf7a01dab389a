// Adds to pages what htmx cannot do. For example, it copies a text, and enters into a field the
// value that a person clicked. Without this file, a person can still make every change.
"use strict";

document.addEventListener("click", async (event) => {
  const copy = event.target.closest("[data-copy]");
  if (copy) {
    await navigator.clipboard.writeText(document.getElementById(copy.dataset.copy).textContent.trim());
    const label = copy.dataset.label || copy.textContent;
    copy.dataset.label = label;
    copy.textContent = "Copied";
    setTimeout(() => { copy.textContent = label; }, 2000);
    return;
  }
  const choice = event.target.closest("[data-choice]");
  if (choice) {
    event.preventDefault();
    insertChoice(choice);
  }
});

// The Enter key in a search field starts the look-up. By default, it would send the form.
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.matches(".search input")) {
    event.preventDefault();
    event.target.closest(".search").querySelector("button").click();
  }
});

// Enters a found value in its field. If the field contains a list, adds the value as another line.
function insertChoice(choice) {
  const lookup = choice.closest("[data-lookup]");
  const field = lookup.querySelector("input, textarea");
  const value = choice.dataset.choice;
  if (field.tagName === "TEXTAREA") {
    const lines = field.value.split("\n").filter((line) => line.trim() !== "");
    field.value = (lines.includes(value) ? lines : [...lines, value]).join("\n");
  } else {
    field.value = value;
    lookup.querySelector(".choices").replaceChildren();
  }
  field.focus();
}

// If the server answers a request for a part of a page with a status from 400 to 499, this answer
// replaces the part. (By default, htmx does not show an answer with a status of 400 or higher.) A
// part that updates itself is not replaced while text in it is selected, because that would remove
// the selection. (htmx keeps the focus: it finds the element that had the focus by its id.)
document.addEventListener("htmx:beforeSwap", (event) => {
  const part = event.detail.target;
  if (part.matches("[hx-trigger^='every ']") && hasSelection(part)) {
    event.detail.shouldSwap = false;
    return;
  }
  if (event.detail.xhr.status >= 400 && event.detail.xhr.status < 500) {
    event.detail.shouldSwap = true;
  }
});

function hasSelection(part) {
  const marked = document.getSelection();
  return !marked.isCollapsed && marked.containsNode(part, true);
}

// A file that a person drops anywhere on a form with `data-drop` is set in the file input of the
// form.
for (const form of document.querySelectorAll("[data-drop]")) {
  const over = (is) => form.classList.toggle("over", is);
  form.addEventListener("dragover", (event) => {
    event.preventDefault();
    over(true);
  });
  form.addEventListener("dragleave", () => over(false));
  form.addEventListener("drop", (event) => {
    event.preventDefault();
    over(false);
    form.querySelector("input[type=file]").files = event.dataTransfer.files;
  });
}

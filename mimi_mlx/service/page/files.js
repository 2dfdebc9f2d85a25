// A file goes to the service, and the listening page that it answers is shown.

import { request, whyClosed } from "./service.js";

const byId = (id) => document.getElementById(id);

let url = null; // of the listening page shown last

export function openFiles() {
  const drop = byId("drop");
  const file = byId("file");
  file.addEventListener("change", () => {
    if (file.files.length) listen(file.files[0]);
    file.value = "";
  });
  // A file that falls beside the field is meant for it too, and must not replace the page.
  addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  addEventListener("dragleave", () => drop.classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer.files.length) listen(event.dataTransfer.files[0]);
  });
  byId("view-close").addEventListener("click", () => byId("view").close());
  byId("view").addEventListener("close", () => byId("view-frame").removeAttribute("src"));
  // A key that is pressed inside the frame does not reach the dialog.
  byId("view-frame").addEventListener("load", ({ target }) => {
    target.contentWindow.addEventListener("keydown", ({ key }) => {
      if (key === "Escape") byId("view").close();
    });
    target.focus();
  });
}

async function listen(file) {
  const problem = byId("file-problem");
  const status = byId("file-state");
  problem.hidden = true;
  status.textContent = `Encoding ${file.name} …`;
  byId("file").disabled = true;
  try {
    show(file.name, await page(file));
  } catch (error) {
    problem.textContent = error.message;
    problem.hidden = false;
  }
  status.textContent = "";
  byId("file").disabled = false;
}

// The listening page of a file, as a Blob.
async function page(file) {
  const most = Number(byId("file").dataset.bytes);
  if (file.size > most) {
    const size = (bytes) => `${Math.ceil(bytes / (1 << 20))} MB`;
    throw new Error(`${file.name} has ${size(file.size)}; the service takes up to ${size(most)}.`);
  }
  let answer;
  try {
    answer = await request(`listen?name=${encodeURIComponent(file.name)}`, {
      method: "POST",
      body: file,
    });
  } catch {
    throw new Error(await whyClosed());
  }
  if (answer.ok) return answer.blob();
  throw new Error((await answer.json()).error);
}

function show(name, blob) {
  if (url) URL.revokeObjectURL(url);
  url = URL.createObjectURL(blob);
  byId("view-name").textContent = name;
  byId("view-frame").src = url;
  byId("view-tab").href = url;
  byId("view-save").href = url;
  byId("view-save").download = `${name.replace(/\.[^.]*$/, "")}.html`;
  byId("view").showModal();
}

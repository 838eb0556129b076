// The emergency brake: an order is given with a reason, and confirmed by typing its name.
"use strict";

const dialog = document.getElementById("order");
const form = dialog.querySelector("form");
const [typed, reason, send] = [form.elements.typed, form.elements.reason, form.elements.send];
let mode = "";

const ready = () => {
  send.disabled = typed.value.trim().toLowerCase() !== mode || reason.value.trim().length < 3;
};

for (const button of document.querySelectorAll("[data-mode]"))
  button.addEventListener("click", () => {
    mode = button.dataset.mode;
    form.reset();
    document.getElementById("order-title").textContent = button.textContent.trim();
    document.getElementById("order-means").textContent = button.dataset.means;
    document.getElementById("order-word").textContent = mode;
    send.className = mode === "run" ? "main" : "danger";
    ready();
    dialog.showModal();
  });

form.addEventListener("input", ready);
document.getElementById("order-cancel").addEventListener("click", () => dialog.close());
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  send.disabled = true;
  try {
    const told = await ask("/api/emergency", { method: "POST", body: { mode, confirm: typed.value.trim().toLowerCase(), reason: reason.value.trim() } });
    dialog.close();
    const list = document.getElementById("answers");
    list.replaceChildren(...told.map((one) => element("li", one.problem ? `${one.bot}: ${t("failed")}: ${one.problem}` : `${one.bot}: ${t("order taken")}`, one.problem ? "bad" : "good")));
    list.hidden = false;
  } catch (error) {
    toast(error.message, "error");
    ready();
  }
});

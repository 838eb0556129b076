// Another password for oneself; afterwards all sessions have ended.
"use strict";

const passwords = document.getElementById("passwords");
passwords.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { old, first, second } = passwords.elements;
  if (first.value !== second.value) return toast(t("The two are not alike."), "error");
  try {
    await ask("/account/password", { method: "POST", body: { old: old.value, new: first.value } });
    location.href = "/login";
  } catch (error) {
    toast(error.message, "error");
  }
});

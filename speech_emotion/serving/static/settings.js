/** What the server says about its models and limits, and the elements of the page by their ids. */
export const settings = await (await fetch("settings")).json();
export const ui = Object.fromEntries([...document.querySelectorAll("[id]")].map((element) => [element.id, element]));

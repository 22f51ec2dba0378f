/** An element with properties (or attributes, where there is no such property) and children. Text stays text. */
function make(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

/** The value of a <script type="application/json">, or null where the page has none. */
function readJson(id) {
  const holder = document.getElementById(id);
  return holder && JSON.parse(holder.textContent);
}

/** Text from base64 of gzip. No request is made: the browser's own decompression reads from memory. */
async function unpack(base64) {
  const binary = atob(base64.trim());
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i += 1) bytes[i] = binary.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

/** Put text on the clipboard, also where a browser keeps its newer interface from pages of files. */
async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = make("textarea", { value: text });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

/** A button that copies what `text()` says when it is pressed. */
function copyButton(label, text) {
  const button = make("button", { type: "button", className: "copy" }, label);
  button.addEventListener("click", async () => {
    await copyText(text());
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = label; }, 1500);
  });
  return button;
}

/** A number with up to `digits` significant digits, and a dash for what is missing. */
function shown(value, digits = 4) {
  if (value === null || value === undefined) return "—";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return value.toLocaleString("en").replace(/^-/, "−");
  return String(Number(value.toPrecision(digits))).replace(/^-/, "−");
}

/** A labelled <select>; options are [value, text]. */
function select(label, options, onChange) {
  const box = make("select", { "aria-label": label });
  for (const [value, text] of options) box.append(make("option", { value }, text));
  box.addEventListener("change", () => onChange(box.value));
  return box;
}

/** A menu behind a button: closed by Escape, and by a click elsewhere. */
function menu(title, ...children) {
  const details = make("details", { className: "menu" }, make("summary", {}, title), make("div", {}, ...children));
  document.addEventListener("click", (event) => {
    if (!details.contains(event.target)) details.open = false;
  });
  details.addEventListener("keydown", (event) => {
    if (event.key === "Escape") details.open = false;
  });
  return details;
}

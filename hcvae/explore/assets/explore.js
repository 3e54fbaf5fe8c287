// The form is the state. Each change sends all of it, and only what was drawn can be saved or frozen.
"use strict";

const one = (selector) => document.querySelector(selector);
const all = (selector) => [...document.querySelectorAll(selector)];

const form = one("form");
const graph = one("#graph");
const darkColors = JSON.parse(one("#dark").textContent);
const darkScheme = matchMedia("(prefers-color-scheme: dark)");
const CONFIG = {
    displaylogo: false,
    modeBarButtons: [["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]], // none that uploads the figure
};
const FIELDS = ".number input[type=text]";
const TYPING_MS = 300;

let references = [];
let drawn = null; // the state of the figure, and the figure
let changes = 0;
let busy = false;
let timer = 0;

// --- state ---

const read = () => {
    const fields = new FormData(form);
    const shown = fields.getAll("shown");
    fields.delete("shown");
    return { fields: Object.fromEntries(fields), references, shown };
};

const changed = () => {
    clearTimeout(timer);
    timer = 0;
    changes += 1;
    allowSaving(false);
    if (!busy) draw();
};

const allowSaving = (allowed) => all(".valid-only").forEach((button) => { button.disabled = !allowed; });

// One request at a time, so that no answer overtakes another; then once more if the form has changed meanwhile.
const draw = async () => {
    busy = true;
    let answered;
    do {
        answered = changes;
        const state = read();
        const answer = await ask("draw", state);
        showProblems(answer);
        if (answer.ok) show(state, answer.content);
        if (answered === changes) allowSaving(answer.ok);
    } while (answered !== changes);
    busy = false;
};

const ask = async (path, content) => {
    const headers = { "Content-Type": "application/json" };
    try {
        const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(content) });
        if (answer.ok || answer.status === 422) {
            const isJson = answer.headers.get("Content-Type") === "application/json";
            return { ok: answer.ok, content: await (isJson ? answer.json() : answer.blob()) };
        }
        return { ok: false, content: { message: `hcvae explore failed (${answer.status}); its terminal shows why` } };
    } catch {
        return { ok: false, content: { message: "hcvae explore does not answer; start it again, then reload this page" } };
    }
};

// --- what is shown ---

const show = (state, { figure, peaks, changes: changesUv }) => {
    drawn = { state, figure };
    const { title, ...layout } = figure.layout;
    one("#condition").textContent = title.text.replaceAll("<br>", ", ");
    const { data, layout: themed } = inScheme({ data: figure.data, layout: { ...layout, margin: { ...layout.margin, t: 30 } } });
    Plotly.react(graph, data, themed, CONFIG);
    one("#peaks tbody").replaceChildren(...peaks.map(tableRow));
    all(FIELDS).forEach((field) => { if (field.value === state.fields[field.name]) sliderOf(field).value = field.value; });
    for (const [block, values] of Object.entries(changesUv)) {
        values.forEach((value, index) => {
            one(`#${block}-${index + 1}-change`).textContent = `${value.toFixed(3)} µV per SD, `;
        });
    }
};

const inScheme = (figure) =>
    JSON.parse(JSON.stringify(figure), (_, value) => (darkScheme.matches && darkColors[value]) || value);

const tableRow = ([name, ...cells]) => {
    const row = document.createElement("tr");
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = name;
    row.append(head);
    cells.forEach((text) => { row.insertCell().textContent = text; });
    return row;
};

const showProblems = ({ ok, content }) => {
    const problems = (!ok && content.problems) || {};
    all(FIELDS).forEach((field) => showProblem(field, problems[field.name]));
    one("#message").textContent = ok ? "" : `Not drawn, and nothing can be saved: ${content.message}`;
    one("main").classList.toggle("invalid", !ok);
};

const showProblem = (field, message) => {
    const note = one(`#${field.id}-problem`);
    field.setAttribute("aria-invalid", String(Boolean(message)));
    note.hidden = !message;
    note.textContent = message || "";
};

// --- numbers: a field and its slider show the same ---

const fieldOf = (slider) => slider.parentElement.querySelector("input[type=text]");
const sliderOf = (field) => field.parentElement.querySelector("input[type=range]");

const slide = (slider, value) => {
    const [low, high, step] = [slider.min, slider.max, slider.dataset.step].map(Number);
    const snapped = Math.round(value / step) * step;
    slider.value = String(Number(Math.min(Math.max(snapped, low), high).toPrecision(10)));
    fieldOf(slider).value = slider.value;
    changed();
};

const STEPS = {
    ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10, Home: -Infinity, End: Infinity,
};

all("input[type=range]").forEach((slider) => {
    slider.addEventListener("input", () => slide(slider, Number(slider.value)));
    slider.addEventListener("keydown", (event) => {
        if (!(event.key in STEPS) || event.ctrlKey || event.altKey || event.metaKey) return;
        event.preventDefault();
        slide(slider, Number(slider.value) + STEPS[event.key] * Number(slider.dataset.step));
    });
});

all(FIELDS).forEach((field) => {
    field.addEventListener("input", () => {
        allowSaving(false);
        clearTimeout(timer);
        timer = setTimeout(changed, TYPING_MS);
    });
    field.addEventListener("change", () => { if (timer) changed(); }); // left, or Enter: no need to wait
});

const markUnknown = (box) => {
    box.closest(".number").querySelectorAll("input[type=text], input[type=range]").forEach((input) => {
        input.disabled = box.checked;
    });
};

// --- everything else ---

const toStart = (input) => {
    if (input.type === "checkbox") input.checked = input.defaultChecked;
    else if (input.tagName === "SELECT") [...input.options].forEach((option) => { option.selected = option.defaultSelected; });
    else input.value = input.defaultValue;
};

const everythingTypical = () => {
    all(".conditions:not([hidden]), .right .number").forEach((part) => {
        part.querySelectorAll("input, select").forEach(toStart);
        part.querySelectorAll(".tick input").forEach(markUnknown);
    });
    changed();
};

const chooseGroup = (position) => {
    all(".conditions").forEach((part, index) => { part.hidden = part.disabled = index !== position; });
    everythingTypical();
};

form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("change", (event) => {
    if (!event.target.matches("select, [type=checkbox]")) return;
    if (event.target.id === "group") { chooseGroup(event.target.selectedIndex); return; }
    if (event.target.closest(".tick")) markUnknown(event.target);
    changed();
});
one("#reset").addEventListener("click", everythingTypical);

// --- references ---

const showReferences = (unticked) => {
    const boxes = references.map(({ name }) => {
        const label = document.createElement("label");
        const box = Object.assign(document.createElement("input"), { type: "checkbox", name: "shown", value: name });
        box.checked = !unticked.has(name);
        label.append(box, ` ${name}`);
        return label;
    });
    one("#shown").replaceChildren(one("#shown legend"), ...boxes);
    one("#shown").hidden = references.length === 0;
    ["#a", "#b"].map(one).forEach((select) => {
        const chosen = select.value;
        select.replaceChildren(select.options[0], ...references.map(({ name }) => new Option(name, name)));
        select.value = references.some(({ name }) => name === chosen) ? chosen : "";
    });
    changed();
};

const addReference = (reference) => {
    const unticked = new Set(all("#shown input:not(:checked)").map((box) => box.value));
    if (!references.some(({ name }) => name === reference.name)) references = [...references, reference];
    unticked.delete(reference.name);
    showReferences(unticked);
};

one("#freeze").addEventListener("click", async () => {
    allowSaving(false); // a second click waits for the first
    const answer = await ask("freeze", drawn.state);
    if (answer.ok) addReference(answer.content);
    else changed();
});
one("#clear").addEventListener("click", () => { references = []; showReferences(new Set()); });
one("#exchange").addEventListener("click", () => {
    [one("#a").value, one("#b").value] = [one("#b").value, one("#a").value];
    changed();
});

const row = one("#row");
if (row) {
    const add = one("#add");
    const describe = async () => {
        const asked = row.value;
        add.disabled = true;
        const { ok, content } = await ask("description", asked);
        if (asked !== row.value) return; // a later answer is on its way
        add.disabled = !ok;
        one("#recording").textContent = ok ? content : "";
        showProblem(row, ok ? "" : content.message);
    };
    row.addEventListener("input", describe);
    add.addEventListener("click", async () => {
        add.disabled = true;
        const { ok, content } = await ask("recording", row.value);
        add.disabled = false;
        if (ok) addReference(content);
        else showProblem(row, content.message);
    });
    describe();
}

// --- saving: tables of the state that is drawn, and its figure in the colours of paper ---

const saveTable = async (suffix) => {
    const { ok, content } = await ask(`explored.${suffix}`, drawn.state);
    if (!ok) { one("#message").textContent = `Not saved: ${content.message}`; return; }
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(content), download: `explored.${suffix}` });
    link.click();
    URL.revokeObjectURL(link.href);
};

const saveFigure = (format) => {
    const size = { width: 900, height: 500, scale: format === "png" ? 2 : 1 };
    Plotly.downloadImage(drawn.figure, { format, filename: "explored", ...size });
};

all("[data-save]").forEach((button) => {
    const kind = button.dataset.save;
    button.addEventListener("click", () => (kind === "png" || kind === "svg" ? saveFigure(kind) : saveTable(kind)));
});

new ResizeObserver(() => { if (drawn) Plotly.Plots.resize(graph); }).observe(one("#waveform"));
darkScheme.addEventListener("change", changed);
changed();

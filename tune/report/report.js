"use strict";

document.querySelectorAll(".command").forEach((line) => {
    const button = line.querySelector("button");
    button.addEventListener("click", async () => {
        await navigator.clipboard.writeText(line.querySelector("code").textContent);
        button.textContent = "Copied";
    });
});

// Numbers by value, everything else as text; empty cells stay last.
const compare = (a, b) => {
    if (a === "" || b === "") return null;
    return Number.isNaN(Number(a)) || Number.isNaN(Number(b)) ? a.localeCompare(b) : Number(a) - Number(b);
};

document.querySelectorAll(".sortable").forEach((table) => {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
        const order = head.ariaSort === "ascending" ? "descending" : "ascending";
        const text = (row) => row.cells[column].textContent.trim();
        const rows = [...table.tBodies[0].rows].sort((one, other) => {
            const [a, b] = [text(one), text(other)];
            return compare(a, b) === null ? (a === "") - (b === "") : compare(a, b) * (order === "ascending" ? 1 : -1);
        });
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.ariaSort = order;
        table.tBodies[0].append(...rows);
    }));
});

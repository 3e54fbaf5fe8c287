// What dash has no property for: names for assistive technology, and figures that the browser draws.

const PARTS = "[role=slider], [role=listbox], input[type=number]";

const nameParts = () => {
    document.querySelectorAll("[data-label]").forEach((control) => {
        control.querySelectorAll(PARTS).forEach((part) => {
            if (!part.hasAttribute("aria-label")) part.setAttribute("aria-label", control.dataset.label);
        });
    });
};

new MutationObserver(nameParts).observe(document.documentElement, { childList: true, subtree: true });

window.dash_clientside = Object.assign({}, window.dash_clientside, {
    explore: {
        save: () => {
            const format = window.dash_clientside.callback_context.triggered_id;
            const graph = document.querySelector("#waveform .js-plotly-plot");
            const size = { width: 900, height: 500, scale: format === "png" ? 2 : 1 };
            window.Plotly.downloadImage(graph, { format, filename: "explored", ...size });
            return "";
        },
    },
});

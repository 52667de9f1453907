// Draws each chart into the element that bears its name. Without JavaScript the page still
// holds every number in its tables.
(function () {
    "use strict";
    const read = (id) => JSON.parse(document.getElementById(id).textContent);
    const specs = read("chart-specs");
    const config = read("chart-theme");
    const options = { mode: "vega-lite", actions: false, renderer: "svg", config: config };
    const drawings = Object.keys(specs).map((name) => {
        const place = document.getElementById(name);
        return window.vegaEmbed(place, specs[name], options).catch((error) => {
            place.textContent = "This chart could not be drawn; the table below has its numbers.";
            console.error(name, error);
        });
    });
    Promise.all(drawings).then(() => document.documentElement.setAttribute("data-charts", "drawn"));
})();

// Functions that run inside a page and return plain data. They must not use anything defined outside themselves.

export function facts(width) {
  const visible = (node) => node.closest("script, style, noscript, template, code, pre, kbd, .katex, svg") === null;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const rawMath = [];
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const found = visible(node.parentElement) && node.data.match(/\$\$|\$[^$\s][^$\n]*\$|\\\(|\\\[|\\begin\{[a-z]+\*?\}/);
    if (found) rawMath.push(node.data.slice(Math.max(0, found.index - 20), found.index + 60).trim());
  }
  const wide = document.documentElement.scrollWidth > width
    ? [...document.body.querySelectorAll("*")].filter((e) => e.getBoundingClientRect().right > width + 1)
      .slice(0, 5).map((e) => e.outerHTML.slice(0, 120)) : [];
  const description = document.querySelector('meta[name="description"]');
  const questions = [...document.querySelectorAll(".lab-question")].map((question) => {
    const [answer, key] = [".lab-answer", ".lab-key input"].map((name) => question.querySelector(name));
    const before = answer.checkVisibility();
    key.checked = true;
    const after = answer.checkVisibility();
    key.checked = false;
    return { id: question.id, before, after };
  });
  const calculators = [...document.querySelectorAll(".lab-cost form")].flatMap((form) => {
    const runs = [...form.elements.run.options].map((option) => option.value);
    return runs.map((run) => {
      form.elements.run.value = run;
      form.elements.run.dispatchEvent(new Event("change", { bubbles: true }));
      const inputs = Object.fromEntries([...form.querySelectorAll("input")].map((box) => [box.name, Number(box.value)]));
      const shown = (name) => form.parentElement.querySelector(`[data-out=${name}]`).textContent;
      return { run, inputs, visible: form.checkVisibility(), gpuHours: shown("gpuHours"), money: shown("money") };
    });
  });
  return {
    title: document.title,
    language: document.documentElement.lang,
    description: description ? description.content : "",
    headings: document.querySelectorAll("h1").length,
    images: [...document.images].map((image) => ({ source: image.getAttribute("src"), alt: image.getAttribute("alt"), width: image.naturalWidth })),
    links: [...document.querySelectorAll("a[href]")].map((link) => link.href),
    anchors: [...document.querySelectorAll("[id], a[name]")].map((e) => e.id || e.getAttribute("name")),
    formulas: document.querySelectorAll(".katex .katex-html").length,
    mathPlaces: document.querySelectorAll(".math").length,
    calculators,
    questions,
    rawMath,
    lesson: document.querySelector(".lab-lesson") !== null,
    colab: [...document.querySelectorAll("a.lab-colab")].filter((link) => link.offsetWidth > 0).map((link) => link.href),
    scrollWidth: document.documentElement.scrollWidth,
    width,
    wide,
  };
}

export async function axe(rules) {
  const options = { resultTypes: ["violations"], ...(rules ? { runOnly: { type: "rule", values: rules } } : {}) };
  const { violations } = await window.axe.run(document, options);
  return violations.map(({ id, impact, help, nodes }) => ({
    id, impact, help, where: nodes.slice(0, 4).map((node) => `${node.target.join(" ")}: ${node.failureSummary}`.slice(0, 400)),
  }));
}

export function colours() {
  const { mode, theme } = document.documentElement.dataset;
  return { mode, theme, background: getComputedStyle(document.body).backgroundColor };
}

export function visibleMenuLinks() {
  return [...document.querySelectorAll("nav.bd-docs-nav a")].filter((link) => {
    const box = link.getBoundingClientRect();
    return box.width > 0 && box.left >= 0 && box.right <= window.innerWidth && link.checkVisibility({ visibilityProperty: true });
  }).length;
}

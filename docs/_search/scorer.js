/* Search: the weights are those of Sphinx; among equals, pages that answer a question come first, translations and the project's pages last. */
var Scorer = {
  score: (result) => {
    const [docname, title, anchor, descr, score] = result;
    if (docname.startsWith("howto/")) return score + 4;
    if (docname.startsWith("project/") || docname === "lightning-situations") return score - 4;
    if (docname.startsWith("ko/")) return score - 3;
    return score;
  },
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};

#include "report/sections/html_page.h"

#include <fmt/format.h>

#include "report/page/markup.h"

namespace lowbank::report {
namespace {

constexpr const char* kPageStyle = R"(
:root{color-scheme:light dark;--fg:#1c2024;--muted:#555e68;--bg:#ffffff;--card:#f4f6f8;
--line:#dde2e7;--accent:#0b62a0}
@media (prefers-color-scheme:dark){:root{--fg:#e6e8eb;--muted:#a8b0b9;--bg:#16191d;--card:#1f242a;
--line:#343a42;--accent:#6cb6f0}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--fg);
font:16px/1.55 system-ui,'Helvetica Neue',Helvetica,Arial,'DejaVu Sans',sans-serif}
main,header,footer{max-width:60rem;margin:0 auto;padding:0 1rem}
header{padding-top:2rem}
h1{font-size:1.7rem;line-height:1.25;margin:0 0 1rem}
h2{font-size:1.3rem;margin:2.8rem 0 .6rem;border-top:1px solid var(--line);padding-top:1.4rem}
h3{font-size:1.02rem;margin:0}
p,li{max-width:46rem}
a{color:var(--accent)}
nav ul{list-style:none;padding:0;display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;margin:1rem 0}
.summary{background:var(--card);border-radius:.6rem;padding:1rem 1.2rem;margin:0}
.summary h2{border:0;margin:0 0 .5rem;padding:0;font-size:1.05rem}
.summary ul{margin:0;padding-left:1.1rem}.summary li{margin:.25rem 0}
figure{margin:1.6rem 0;break-inside:avoid}
figcaption{margin:.1rem 0 .6rem}
figcaption p{margin:.2rem 0;color:var(--muted);font-size:.92rem}
.panels{display:grid;gap:1.2rem 1.5rem;
grid-template-columns:repeat(auto-fit,minmax(min(100%,21rem),1fr))}
.panel{width:100%;max-width:29rem;height:auto;display:block}
.legend{list-style:none;margin:.4rem 0 .6rem;padding:0;display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;
font-size:.9rem}
.legend li{display:flex;align-items:center;gap:.4rem}
.legend svg{flex:none}
.scroll{overflow-x:auto;margin:0 0 .2rem}
table{border-collapse:collapse;font-size:.9rem;min-width:min(100%,30rem)}
.caption{font-weight:600;font-size:.92rem;margin:1.4rem 0 .3rem}
.prov{font-weight:400;color:var(--muted)}
th,td{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid var(--line);
vertical-align:top;font-weight:400;white-space:nowrap}
thead th{white-space:normal}.wide{white-space:normal;min-width:14rem}
thead th{font-weight:600;vertical-align:bottom;border-bottom:2px solid var(--line)}
.num{text-align:right;font-variant-numeric:tabular-nums}
.files{color:var(--muted);font-size:.85rem;margin:.2rem 0 1rem}
code{font-family:ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;font-size:.92em}
summary{cursor:pointer;margin:.8rem 0}
dt{font-weight:600;margin-top:.5rem}dd{margin:0 0 0 1rem;max-width:45rem}
footer{color:var(--muted);font-size:.88rem;padding:2rem 1rem}
@media print{:root{--fg:#000;--muted:#444;--bg:#fff;--card:#f4f6f8;--line:#ccc;--accent:#000}
body{font-size:10.5pt}nav{display:none}.scroll{overflow:visible}
.panels{grid-template-columns:1fr 1fr}table{font-size:8.5pt}tr{break-inside:avoid}}
)";

constexpr const char* kWords = R"(<section id="words">
<h2>Words used here</h2>
<dl>
<dt>Measured and modelled</dt><dd>A measured number was taken by running the model on the named
device. A modelled number was computed from constants of hardware that was not at hand.</dd>
<dt>Rank</dt><dd>The inner size of the two small matrices that replace a large one.</dd>
<dt>SLC and MLC cells</dt><dd>Memory cells that hold one bit (reliable, but more area for each bit),
or several (dense, but noisy).</dd>
<dt>Selection</dt><dd>How the ranks that get SLC cells are chosen: by importance (gradient), by their
order in the decomposition (rank order), or at random.</dd>
<dt>Encoding</dt><dd>How an integer becomes levels of cells; it decides which cells a small number
disturbs.</dd>
<dt>95 % interval</dt><dd>Mean plus and minus Student's t times the standard error over noise
draws.</dd>
</dl>
</section>
)";

std::string figure_html(const Figure& figure) {
  std::string out = fmt::format(
      "<figure id=\"{}\">\n<figcaption><h3>{}</h3><p>{}</p></figcaption>\n{}<div "
      "class=\"panels\">\n",
      escape_markup(figure.id), escape_markup(figure.title), escape_markup(figure.caption),
      legend_html(figure));
  for (std::size_t i = 0; i < figure.panels.size(); ++i) out += panel_svg(figure, i);
  return out + fmt::format(
                   "</div>\n<p class=\"files\">{}. Files: <code>{}</code> .svg, .csv, "
                   ".py</p>\n</figure>\n",
                   escape_markup(joined_provenance(figure_provenance(figure))),
                   escape_markup(figure.id));
}

}  // namespace

std::string html_page(const std::string& title, const std::vector<std::string>& summary,
                      const std::vector<Section>& sections, const std::string& data_folder) {
  std::string out = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<title>{}</title>\n<style>{}{}@media screen and "
      "(prefers-color-scheme:dark){{\n{}}}\n</style>\n"
      "</head>\n<body>\n<header>\n<h1>{}</h1>\n<section "
      "class=\"summary\">\n<h2>Summary</h2>\n<ul>\n",
      escape_markup(title), kPageStyle, figure_css(false), figure_css(true), escape_markup(title));
  for (const std::string& line : summary) out += "<li>" + escape_markup(line) + "</li>\n";
  out += "</ul>\n</section>\n<nav aria-label=\"Sections\"><ul>\n";
  for (const Section& section : sections) {
    out +=
        fmt::format("<li><a href=\"#{}\">{}</a></li>\n", section.id, escape_markup(section.title));
  }
  out += "<li><a href=\"#words\">Words used here</a></li>\n</ul></nav>\n</header>\n<main>\n";
  for (const Section& section : sections) {
    out +=
        fmt::format("<section id=\"{}\">\n<h2>{}</h2>\n", section.id, escape_markup(section.title));
    for (const std::string& text : section.paragraphs) {
      out += "<p>" + escape_markup(text) + "</p>\n";
    }
    for (const Figure& figure : section.figures) out += figure_html(figure);
    for (const Table& table : section.tables) out += table_html(table);
    if (!section.notes.empty()) {
      out += "<h3>Notes</h3>\n<ul>\n";
      for (const std::string& note : section.notes) out += "<li>" + escape_markup(note) + "</li>\n";
      out += "</ul>\n";
    }
    out += "</section>\n";
  }
  out += kWords;
  return out + fmt::format(
                   "</main>\n<footer>Made by Lowbank. The files named under figures and "
                   "tables lie in the folder <code>{}</code>.</footer>\n</body>\n</html>\n",
                   escape_markup(data_folder));
}

}  // namespace lowbank::report

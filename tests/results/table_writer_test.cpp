#include "results/table_writer.h"

#include <algorithm>

#include "core/base/error.h"
#include "core/base/json.h"
#include "results/query.h"
#include "results/table_markup.h"
#include "tests/results/sample_runs.h"
#include "tests/support/catch.h"
#include "tests/support/paths.h"

using namespace mla;
using namespace mla::test;

namespace {

// A table that needs no store: one text column, one number with its error.
Table small_table(const std::string& text, double value) {
  return {"small", {{"Name"}, {"Value", 3, 2}}, {{text, value, 0.5}}};
}

Table two_protocols() {
  return {"zoo", {{"Method"}, {"Protocol"}, {"ppl", 2, 3}}, {{std::string("a"), std::string("p1"), 1.0, 0.25}, {std::string("b"), std::string("p2"), 2.0, 0.5}, {std::string("c"), std::string("p1"), 3.0, 0.75}}, {1}};
}

int count_of(const std::string& text, const std::string& part) {
  int count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

}  // namespace

TEST_CASE("two stores with the same runs give the same bytes in every format", "[results]") {
  const TemporaryFolder folder;
  Store one = Store::open(folder / "one.db"), two = Store::open(folder / "two.db");
  for (const char* label : {"a", "b", "c"}) add_done(one, {.label = label});
  for (const char* label : {"c", "a", "b"}) add_done(two, {.label = label});

  for (const std::string& query : query_names()) {
    if (query == "runs") continue;  // it lists ids and times
    for (const char* format : {"text", "markdown", "csv", "json", "latex", "html"}) {
      INFO(query << " as " << format);
      CHECK(write_table(run_query(one, query), parse_table_format(format)) == write_table(run_query(two, query), parse_table_format(format)));
      CHECK(write_table(run_query(one, query), parse_table_format(format)) == write_table(run_query(one, query), parse_table_format(format)));
    }
  }
}

TEST_CASE("cell text cannot break a markdown row", "[results]") {
  const std::string markdown = write_table(small_table("a|b\n`c` <i>\\", 1), TableFormat::markdown);

  CHECK_THAT(markdown, Catch::Contains("a\\|b \\`c\\` \\<i>\\\\"));
  CHECK(std::count(markdown.begin(), markdown.end(), '\n') == 3);
}

TEST_CASE("a terminal gets no control bytes from cell text", "[results]") {
  const std::string text = write_table(small_table("\x1b[31mred\r\n", 1), TableFormat::text);

  CHECK(text.find('\x1b') == std::string::npos);
  CHECK(text.find('\r') == std::string::npos);
  CHECK(std::count(text.begin(), text.end(), '\n') == 2);
}

TEST_CASE("csv carries every digit, the error in a column of its own, and quotes what needs it", "[results]") {
  const double value = 0.1 + 0.2;

  const std::string csv = write_table(small_table("a,\"b\"\nc", value), TableFormat::csv);

  CHECK(csv == "Name,Value,Value std. error\n\"a,\"\"b\"\"\nc\",0.30000000000000004,0.5\n");
}

TEST_CASE("json carries every digit and null where nothing was measured", "[results]") {
  Table table = small_table("a", 0.1 + 0.2);
  table.rows.push_back({std::string("b"), std::monostate{}, std::monostate{}});

  const Json rows = Json::parse(write_table(table, TableFormat::json));

  CHECK(rows.at(0).at("Value") == 0.1 + 0.2);
  CHECK(rows.at(1).at("Value").is_null());
}

TEST_CASE("a value too large for fixed digits is printed whole", "[results]") {
  CHECK_THAT(write_table(small_table("a", 1.5e80), TableFormat::text), Catch::Contains("1.5e+80"));
}

TEST_CASE("an unknown table format names the known ones", "[results][errors]") {
  CHECK_THROWS_AS(parse_table_format("htm"), ConfigError);
  CHECK_THROWS_WITH(parse_table_format("htm"), Catch::Contains("csv, html, json, latex, markdown, md, text"));
}

TEST_CASE("what two protocols scored stands in two tables, each under its name", "[results][formats]") {
  const Table table = two_protocols();

  CHECK(write_table(table, TableFormat::text) == "p1\nMethod          ppl\na       1.00 ± 0.25\nc       3.00 ± 0.75\n\np2\nMethod          ppl\nb       2.00 ± 0.50\n");
  CHECK_THAT(write_table(table, TableFormat::markdown), Catch::Contains("**p1**\n\n| Method") && Catch::Contains("**p2**\n\n| Method"));
  for (const TableFormat format : {TableFormat::latex, TableFormat::html}) {
    const std::string text = write_table(table, format);
    CHECK(count_of(text, format == TableFormat::latex ? "\\begin{tabular}" : "<table>") == 2);
    CHECK(text.find("p1") < text.find("3.00"));
    CHECK(text.find("3.00") < text.find("p2"));
    CHECK(text.find("p2") < text.find("2.00"));
  }
}

TEST_CASE("one protocol is a column of the printed table; csv and json always have the column", "[results][formats]") {
  Table table = two_protocols();
  table.rows.erase(table.rows.begin() + 1);

  CHECK_THAT(write_table(table, TableFormat::text), Catch::Contains("Protocol") && !Catch::StartsWith("p1"));
  CHECK_THAT(write_table(two_protocols(), TableFormat::csv), Catch::StartsWith("Method,Protocol,ppl,ppl std. error\na,p1,1.0,0.25\nb,p2,2.0,0.5\n"));
}

TEST_CASE("latex is a booktabs table whose cells are text", "[results][formats]") {
  CHECK(write_table(small_table("<script> a|b x_1 & 50% $ # { } ~ ^ \\ [x] *", 1.5), TableFormat::latex) ==
        "% \\usepackage{booktabs,textcomp}\n\\begin{table}\n  \\centering\n  \\caption{small}\n  \\label{tab:small-1}\n  \\begin{tabular}{lr}\n    \\toprule\n"
        "    Name & Value \\\\\n    \\midrule\n"
        "    \\textless{}script\\textgreater{} a\\textbar{}b x\\_1 \\& 50\\% \\$ \\# \\{ \\} \\textasciitilde{} \\textasciicircum{} \\textbackslash{} {[}x{]} {*} & 1.500 $\\pm$ 0.500 \\\\\n"
        "    \\bottomrule\n  \\end{tabular}\n\\end{table}\n");
}

TEST_CASE("html shows a run named like a script as text", "[results][formats]") {
  const std::string html = write_table(small_table("<script>alert('1' + \"2\")</script> & a|b", 1.5), TableFormat::html);

  CHECK(html.find("<script") == std::string::npos);
  CHECK_THAT(html, Catch::Contains("<td>&lt;script&gt;alert(&#39;1&#39; + &quot;2&quot;)&lt;/script&gt; &amp; a|b</td><td class=\"n\">1.500 ± 0.500</td>"));
  CHECK_THAT(html, Catch::StartsWith("<!doctype html>") && Catch::EndsWith("</html>\n"));
  CHECK(count_of(html, "http") == 0);  // nothing is fetched
}

TEST_CASE("markdown escapes what would be markup and leaves plain names readable", "[results][formats]") {
  CHECK_THAT(write_table(small_table("x_1 & 50%", 1), TableFormat::markdown), Catch::Contains("| x_1 & 50% |"));
  CHECK_THAT(write_table(small_table("_a_ **b** [c](d) &lt; a|b", 1), TableFormat::markdown), Catch::Contains("\\_a\\_ \\*\\*b\\*\\* \\[c\\](d) \\&lt; a\\|b"));
}

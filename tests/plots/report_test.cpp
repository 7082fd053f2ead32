#include "plots/report.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <set>

#include "core/base/error.h"
#include "core/base/files.h"
#include "plots/report_parts.h"
#include "tests/results/sample_runs.h"
#include "tests/support/catch.h"
#include "tests/support/paths.h"

using namespace mla;
using namespace mla::test;
using Catch::Matchers::Contains;

namespace {

const std::string kEvil = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">' & \"</script>";

// Three conversions, a failed run, a run over a task, and one whose every text is hostile.
Store sample_store(const fs::path& path) {
  Store store = Store::open(path);
  add_done(store, {.method = "svd", .label = "svd r48", .kv_values = 96, .perplexity = 40});
  add_done(store, {.label = "transmla r96", .kv_values = 192, .perplexity = 25});
  const int64_t id = add_done(store, {.label = "transmla r10", .kv_values = 96, .perplexity = 100});
  store.sink(id)->add({{"mla", "window_nll", 0, 3.5}, {"mla", "window_nll", 1, 3.25}, {"original", "window_nll", 0, 3.0}, {"original", "window_nll", 1, 2.75}, {"mla", "kept_energy", 0, 0.875}});
  store.fail_run(store.begin_run(sample_record({.label = "broken"})), "wanted a finite value, got nan");
  const RunRecord task = sample_record({.label = "transmla r96", .corpus = "arc_easy", .protocol = "lm-eval/v1"});
  const int64_t answered = store.begin_run(task);
  store.answer_sink(answered)->add({{"arc_easy", "mla", 0, "item 7", sha256_hex("p"), "B", kEvil, 1, 3, "{}"}});
  store.finish_run(answered, task, {{"acc", "mla", "lm-eval/v1", 0.5, 0.1, 1, "1", Better::higher}});
  add_done(store, {.method = kEvil, .label = kEvil, .kv_values = 96, .perplexity = 31, .warnings = {kEvil}});
  return store;
}

struct Browsed {
  std::string dom, log;
};

std::string chromium() {
  for (const char* name : {"chromium", "chromium-browser", "google-chrome"})
    if (std::system((std::string("command -v ") + name + " > /dev/null").c_str()) == 0) return name;
  return "";
}

// The page's final DOM and what its console said, without a screen. Paths are the test's own.
Browsed browse(const TemporaryFolder& folder, const fs::path& page, int width = 1000) {
  const fs::path dom = folder / "dom.html", log = folder / "log.txt";
  const std::string command = "timeout 60 " + chromium() + " --window-size=" + std::to_string(width) + ",900 --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --enable-logging=stderr --user-data-dir=" +
                              (folder / "profile").string() + " --virtual-time-budget=4000 --dump-dom file://" + page.string() + " > " + dom.string() + " 2> " + log.string();
  REQUIRE(std::system(command.c_str()) == 0);
  return {read_text_file(dom), read_text_file(log)};
}

// Console messages, of errors above all, are logged so.
bool has_console(const Browsed& browsed) { return browsed.log.find("CONSOLE") != std::string::npos; }

// The report's page with a script behind it that uses the page as a person would and writes what it saw into an element of its own.
fs::path with_driver(const TemporaryFolder& folder, const fs::path& page, const std::string& driver) {
  std::string html = read_text_file(page);
  const std::size_t policy = html.find("script-src '");
  REQUIRE(policy != std::string::npos);
  html.replace(policy, html.find('"', policy) - policy, "script-src 'unsafe-inline'");
  const std::size_t end = html.rfind("</body>");
  html.insert(end, "<script>const say = (text) => { const p = document.createElement('p'); p.className = 'said'; p.textContent = text; document.body.append(p); };\n"
                   "const shown = () => [...document.querySelectorAll('#runs tbody tr')].filter((r) => !r.hidden).map((r) => r.cells[0].textContent).join(' ');\n" + driver + "</script>");
  write_file_atomically(folder / "driven.html", html);
  return folder / "driven.html";
}

std::vector<std::string> said(const std::string& dom) {
  std::vector<std::string> lines;
  for (std::size_t at = dom.find("<p class=\"said\">"); at != std::string::npos; at = dom.find("<p class=\"said\">", at + 1)) {
    const std::size_t begin = at + 16;
    lines.push_back(dom.substr(begin, dom.find("</p>", begin) - begin));
  }
  return lines;
}

}  // namespace

TEST_CASE("a report is an index and a page per run, with what the store holds of it", "[plots][report]") {
  const TemporaryFolder folder;
  const Store store = sample_store(folder / "runs.db");

  const ReportSummary summary = write_report(store, folder / "report");

  CHECK(summary.runs == 6);
  const std::string index = read_text_file(folder / "report" / "index.html"), page = read_text_file(folder / "report" / "runs" / "3.html");
  CHECK_THAT(index, Contains("<a href=\"runs/3.html\">3</a>") && Contains("transmla r10") && Contains("acc 0.5000"));
  CHECK_THAT(page, Contains("Run 3: transmla r10") && Contains("window_nll") && Contains("<polyline") && Contains("Kept share of energy") && Contains("cccccccccc") && Contains("mlaforge run --method transmla"));
  CHECK_THAT(read_text_file(folder / "report" / "runs" / "4.html"), Contains("wanted a finite value, got nan"));
  CHECK_THAT(read_text_file(folder / "report" / "runs" / "5.html"), Contains("item 7"));
}

TEST_CASE("pages fetch nothing and name no other place", "[plots][report]") {
  const TemporaryFolder folder;
  write_report(sample_store(folder / "runs.db"), folder / "report");

  for (const auto& entry : fs::recursive_directory_iterator(folder / "report")) {
    if (!entry.is_regular_file()) continue;
    INFO(entry.path().filename());
    const std::string html = read_text_file(entry.path());
    CHECK_THAT(html, Contains("default-src 'none'"));
    CHECK(html.find("http:") == html.find("http://www.w3.org/2000/svg"));  // a namespace, which is no address
    CHECK(html.find("https:") == std::string::npos);
  }
}

TEST_CASE("hostile texts of a store are text on every page", "[plots][report]") {
  const TemporaryFolder folder;
  write_report(sample_store(folder / "runs.db"), folder / "report");

  for (const char* name : {"index.html", "runs/6.html", "runs/5.html"}) {
    INFO(name);
    const std::string html = read_text_file(folder / "report" / name);
    CHECK(html.find("<script>document") == std::string::npos);
    CHECK(html.find("<img src=x") == std::string::npos);
    CHECK_THAT(html, Contains("&lt;script&gt;document"));
  }
}

TEST_CASE("the same store gives the same report, and a second report takes the first one's place", "[plots][report]") {
  const TemporaryFolder folder;
  Store store = sample_store(folder / "runs.db");
  write_report(store, folder / "one");
  write_report(store, folder / "two");
  CHECK(read_text_file(folder / "one" / "index.html") == read_text_file(folder / "two" / "index.html"));
  CHECK(read_text_file(folder / "one" / "runs" / "3.html") == read_text_file(folder / "two" / "runs" / "3.html"));

  store.remove_run(3);
  write_report(store, fs::path(folder / "one") / "");

  CHECK_FALSE(fs::exists(folder / "one" / "runs" / "3.html"));
  CHECK(fs::exists(folder / "one" / "runs" / "2.html"));
  CHECK(std::distance(fs::directory_iterator(folder.path()), {}) == 3);  // store and two reports: no draft is left
}

TEST_CASE("a folder that holds anything but a report is refused and left as it is", "[plots][report][errors]") {
  const TemporaryFolder folder;
  const Store store = sample_store(folder / "runs.db");
  fs::create_directory(folder / "work");
  write_file_atomically(folder / "work" / "thesis.txt", "x");
  fs::create_directory(folder / "site");
  write_file_atomically(folder / "site" / "index.html", "<!doctype html><p>mine</p>");
  write_report(store, folder / "mixed");
  write_file_atomically(folder / "mixed" / "notes.txt", "x");
  write_file_atomically(folder / "file", "x");

  for (const char* name : {"work", "site", "mixed", "file"}) {
    INFO(name);
    CHECK_THROWS_AS(write_report(store, folder / name), ConfigError);
    CHECK_THROWS_WITH(write_report(store, folder / name), Contains("choose another --out"));
  }
  CHECK(read_text_file(folder / "work" / "thesis.txt") == "x");
  CHECK_THAT(read_text_file(folder / "site" / "index.html"), Contains("mine"));
  fs::create_directory(folder / "empty");
  CHECK_NOTHROW(write_report(store, folder / "empty"));
}

TEST_CASE("a report that fails leaves the earlier one whole and nothing beside it", "[plots][report][errors]") {
  const TemporaryFolder folder;
  Store store = sample_store(folder / "runs.db");
  write_report(store, folder / "report");
  const std::string before = read_text_file(folder / "report" / "index.html");
  store.database().execute("UPDATE run SET config = 'no JSON' WHERE id = 5");

  CHECK_THROWS_AS(write_report(store, folder / "report"), StoreError);
  CHECK_THROWS_AS(write_report(store, folder / "new"), StoreError);

  CHECK(read_text_file(folder / "report" / "index.html") == before);
  CHECK_FALSE(fs::exists(folder / "new"));
  CHECK(std::distance(fs::directory_iterator(folder.path()), {}) == 2);
}

TEST_CASE("in a browser: no message on the console, hostile names stay text, the plot is drawn", "[plots][report][browser]") {
  if (chromium().empty()) return skip("chromium is not installed");
  const TemporaryFolder folder;
  write_report(sample_store(folder / "runs.db"), folder / "report");

  const Browsed index = browse(folder, folder / "report" / "index.html"), run = browse(folder, folder / "report" / "runs" / "6.html");

  CHECK_FALSE(has_console(index));
  CHECK_FALSE(has_console(run));
  CHECK_THAT(index.dom, Contains("6 runs") && Contains("<polygon") && Contains("class=\"front\"") && Contains("<title>mlaforge report</title>"));
  CHECK_THAT(run.dom, !Contains("<title>owned"));
}

TEST_CASE("in a browser as narrow as a phone the page is no wider than the screen", "[plots][report][browser]") {
  if (chromium().empty()) return skip("chromium is not installed");
  const TemporaryFolder folder;
  write_report(sample_store(folder / "runs.db"), folder / "report");

  const Browsed browsed = browse(folder, with_driver(folder, folder / "report" / "index.html", "say(String(document.documentElement.scrollWidth <= window.innerWidth) + ' ' + (window.innerWidth < 600));"), 400);

  CHECK(said(browsed.dom) == std::vector<std::string>{"true true"});
}

TEST_CASE("in a browser: columns sort both ways with what was not measured last, words and choices filter, keys reach everything", "[plots][report][browser]") {
  if (chromium().empty()) return skip("chromium is not installed");
  const TemporaryFolder folder;
  write_report(sample_store(folder / "runs.db"), folder / "report");
  const fs::path page = with_driver(folder, folder / "report" / "index.html", R"(
const click = (name) => [...document.querySelectorAll('#runs thead button')].find((b) => b.textContent === name).click();
const type = (text) => { const s = document.getElementById('search'); s.value = text; s.dispatchEvent(new Event('input')); };
const choose = (label, value) => { const s = [...document.querySelectorAll('label')].find((l) => l.firstChild.textContent === label).querySelector('select'); s.value = value; s.dispatchEvent(new Event('change')); };
say(shown());
click('MLA ppl'); say(shown());
click('MLA ppl'); say(shown());
say(document.querySelector('[aria-sort]').getAttribute('aria-sort'));
click('Method'); say(shown().split(' ').slice(-2).join(' '));
click('Run'); type('TRANSMLA r96'); say(shown()); say(document.getElementById('count').textContent);
choose('Corpus', 'arc_easy'); say(shown());
document.getElementById('clear').click(); say(shown());
choose('Status', 'failed'); say(shown());
document.getElementById('clear').click();
const points = [...document.querySelectorAll('#plot a')]; say(String(points.length));
points[0].focus(); say(String(document.getElementById('tip').hidden) + ' ' + document.activeElement.getAttribute('href'));
say(document.getElementById('tip').textContent.includes('values per token and layer') ? 'tip' : 'no tip');
points[0].blur(); say(String(document.getElementById('tip').hidden));
choose('Measure', 'kld'); say(document.querySelector('#plot svg').getAttribute('aria-label').split(' against')[0]);
say(String(document.documentElement.scrollWidth <= window.innerWidth));
say(String([...document.querySelectorAll('button, input, select, a')].every((e) => e.tabIndex >= 0)));
)");

  const Browsed browsed = browse(folder, page);

  CHECK_FALSE(has_console(browsed));
  CHECK(said(browsed.dom) == std::vector<std::string>{"1 2 3 4 5 6", "2 6 1 3 4 5", "3 1 6 2 4 5", "descending", "2 5", "2 5", "2 of 6 runs", "5", "1 2 3 4 5 6", "4", "4", "false runs/6.html", "tip",
                                                      "true", "Mean KL divergence, nats per token", "true", "true"});
}

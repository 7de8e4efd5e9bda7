#include "report/page.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <optional>

#include <fmt/core.h>

#include "base/text.h"
#include "report/html.h"
#include "report/plot.h"

namespace packhorse {
namespace {

constexpr int kThumbnailEdge = 160;  // short edge of an image on the page, in pixels
constexpr size_t kMaxClasses = 10, kMaxPairs = 15;

constexpr const char* kStyle = R"(
:root{color-scheme:light}
body{margin:0;background:#f4f5f7;color:#1d2430;font:15px/1.5 system-ui,"Segoe UI",Roboto,"Helvetica Neue",sans-serif}
main{max-width:1120px;margin:0 auto;padding:32px 24px 64px}
h1{font-size:28px;margin:0;font-weight:650;letter-spacing:-.01em}
h2{font-size:18px;margin:40px 0 12px;font-weight:600}
p{margin:4px 0 12px}.about,.note{color:#5b6472}.note{font-size:13px}
.box{background:#fff;border:1px solid #e1e4e9;border-radius:8px}
.figures{display:flex;flex-wrap:wrap;gap:12px;margin:24px 0 0}
.figure{flex:1 1 140px;padding:14px 16px}.figure b{display:block;font-size:24px;font-weight:620}
.figure span{color:#5b6472;font-size:13px}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(440px,1fr));gap:12px}
.plot{padding:10px}.plot svg{width:100%;height:auto;display:block}
table{border-collapse:collapse;width:100%}.box table{margin:0}
th,td{padding:7px 14px;text-align:left;border-top:1px solid #edf0f3;vertical-align:top}
tr:first-child>th,tr:first-child>td{border-top:0}th{font-weight:600;color:#5b6472;font-size:13px}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}tr.reference td{color:#7a8290;font-style:italic}
.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(440px,1fr));gap:12px;align-items:start}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(250px,1fr));gap:12px}
.card{display:flex;flex-direction:column;padding:12px;overflow:hidden}
.card img{height:150px;width:100%;object-fit:contain;background:#fafbfc;border-radius:4px}
.card .caption{font-weight:600;margin:8px 0 0;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.card .note{margin:0 0 6px}
.bar{position:relative;margin-top:3px;height:22px;background:#f1f3f6;border-radius:3px;font-size:13px;line-height:22px}
.bar i{position:absolute;left:0;top:0;bottom:0;background:#c9d6e8;border-radius:3px}.bar.right i{background:#b5dcbd}
.bar span{position:absolute;left:7px;right:58px;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.bar b{position:absolute;right:7px;font-weight:500;font-variant-numeric:tabular-nums}
td.key{width:30%;color:#5b6472}td.value{word-break:break-word}
@media print{body{background:#fff}.card,.plot{break-inside:avoid}}
)";

std::string section(const std::string& title, const std::string& note, const std::string& body) {
  if (body.empty()) return "";
  return "<h2>" + escape_html(title) + "</h2>\n" +
         (note.empty() ? "" : "<p class=\"note\">" + escape_html(note) + "</p>\n") + body + "\n";
}

std::string cell(const std::string& text, bool number = false) {
  return std::string(number ? "<td class=\"n\">" : "<td>") + escape_html(text) + "</td>";
}

std::string header(const std::vector<std::string>& names) {
  std::string row = "<tr>";
  for (size_t i = 0; i < names.size(); ++i) {
    row += std::string(i == 0 ? "<th>" : "<th class=\"n\">") + escape_html(names[i]) + "</th>";
  }
  return row + "</tr>\n";
}

std::string facts_table(const Facts& facts) {
  if (facts.empty()) return "";
  std::string rows;
  for (const auto& [key, value] : facts) {
    rows +=
        "<tr><td class=\"key\">" + escape_html(key) + "</td><td class=\"value\">" + escape_html(value) + "</td></tr>\n";
  }
  return "<div class=\"box\"><table>\n" + rows + "</table></div>";
}

// ---- Learning curves ------------------------------------------------------------------------------------------------

/// Fills in `curve` with the values of `member` over those of `over`, if both are numbers.
Curve curve_of(const Table& table, const std::string& over, const std::string& member, Curve curve) {
  const Column* x = table.find(over);
  const Column* y = table.find(member);
  if (x == nullptr || y == nullptr || x->kind == Column::Kind::text || y->kind == Column::Kind::text) return curve;
  curve.x = x->numbers();
  curve.y = y->numbers();
  return curve;
}

std::string curves(const std::vector<Table>& tables) {
  const Table& steps = table_of(tables, "steps");
  const Table& epochs = table_of(tables, "epochs");
  const Table& validation = table_of(tables, "validation");
  const std::string over = steps.find("epoch") != nullptr ? "epoch" : "step";
  const auto thin = [&](const std::string& member, const std::string& title) {
    return curve_of(steps, over, member, {title, {}, {}, false, true});
  };
  const auto marked = [&](const Table& table, const std::string& member, const std::string& title) {
    return curve_of(table, over, member, {title, {}, {}, true, false});
  };
  const std::vector<Plot> plots{
      {"Loss", over, "nats", {thin("loss", "training"), marked(validation, "loss", "validation")}, false, false},
      {"Accuracy",
       over,
       "",
       {thin("top1", "training top-1"), marked(validation, "top1", "validation top-1"),
        marked(validation, "top5", "validation top-5")},
       false,
       true},
      {"Throughput",
       over,
       "images/s",
       {thin("images_per_second", "training"), marked(epochs, "images_per_second", "epoch mean")},
       true,
       false},
      {"Learning rate", over, "", {thin("learning_rate", "learning rate")}, true, false}};
  std::string body;
  for (const std::string& svg : draw_plots(plots)) {
    if (!svg.empty()) body += "<div class=\"box plot\">" + svg + "</div>\n";
  }
  return body.empty() ? "" : "<div class=\"plots\">\n" + body + "</div>";
}

// ---- Accuracy -------------------------------------------------------------------------------------------------------

/// The published run of 2015 on all of ImageNet (fall 2011 release), evaluated on the ILSVRC2012 validation images.
struct Published {
  const char* scope;
  const char* title;
  std::array<double, 3> accuracy;
};
constexpr size_t kReferenceClasses = 21841;
constexpr std::array<Published, 2> kPublished{
    Published{"all", "published reference run (2015): all 21,841 classes", {0.419, 0.696, 0.836}},
    Published{"subset", "published reference run (2015): the 1,000 classes of ILSVRC2012", {0.683, 0.890, 0.960}}};

std::string scope_row(const ScopeResult& scope) {
  std::string row = "<tr>" + cell(scope.title) + cell(grouped(scope.images), true);
  for (const double accuracy : scope.accuracy) row += cell(percent_text(accuracy), true);
  row += cell(scope.hierarchical < 0 ? "–" : percent_text(scope.hierarchical), true);
  return row + cell(fmt::format("{:.3f}", scope.loss), true) + "</tr>\n";
}

std::string published_row(const Published& published) {
  std::string row = std::string("<tr class=\"reference\">") + cell(published.title) + cell("50,000", true);
  for (const double accuracy : published.accuracy) row += cell(percent_text(accuracy), true);
  return row + cell("–", true) + cell("–", true) + "</tr>\n";
}

std::string accuracy_table(const Evaluation& evaluation) {
  std::string rows = header({"Class set", "images", "top-1", "top-5", "top-20", "hierarchical top-1", "loss"});
  std::string outside;
  for (const ScopeResult& scope : evaluation.scopes) {
    rows += scope_row(scope);
    for (const Published& published : kPublished) {
      if (evaluation.class_ids.size() == kReferenceClasses && scope.name == published.scope) {
        rows += published_row(published);
      }
    }
    if (scope.outside > 0) {
      outside += fmt::format(
          "<p class=\"note\">{} of {} images have a label outside {}; they are counted but not evaluated.</p>\n",
          grouped(scope.outside), grouped(evaluation.listed), escape_html(scope.title));
    }
  }
  return "<div class=\"box\"><table>\n" + rows + "</table></div>\n" + outside +
         "<p class=\"note\">Hierarchical top-1: the top-1 prediction is the label, or an ancestor or descendant of it "
         "in WordNet. Loss: mean cross-entropy in nats.</p>";
}

/// Images trained on in each second of steps: of the epochs so far, without validation and checkpoints. The same
/// definition as in the progress and the result of train.
std::optional<double> training_rate(const Table& epochs) {
  const Column *images = epochs.find("images"), *seconds = epochs.find("seconds");
  if (images == nullptr || seconds == nullptr) return std::nullopt;
  const auto total = [](const Column& column) {
    const std::vector<double> values = column.numbers();
    return std::accumulate(values.begin(), values.end(), 0.0);
  };
  const double rate = total(*images) / total(*seconds);
  return std::isfinite(rate) ? std::optional(rate) : std::nullopt;
}

std::string headline(const Report& report) {
  std::vector<std::pair<std::string, std::string>> figures;
  if (report.evaluation && !report.evaluation->scopes.empty()) {
    const ScopeResult& scope = report.evaluation->scopes.front();
    const std::string precision = report.evaluation->fact("precision");
    const std::string computed = precision.empty() ? "" : ", in " + precision;
    figures.emplace_back(percent_text(scope.accuracy[0]), "top-1" + computed);
    figures.emplace_back(percent_text(scope.accuracy[1]), "top-5" + computed);
    figures.emplace_back(grouped(report.evaluation->listed), "images evaluated");
  }
  const Table& steps = table_of(report.tables, "steps");
  if (const Column* step = steps.find("step"); step != nullptr && steps.rows > 0) {
    figures.emplace_back(grouped(static_cast<uint64_t>(step->numbers().back())), "steps");
  }
  if (const auto rate = training_rate(table_of(report.tables, "epochs"))) {
    figures.emplace_back(grouped(static_cast<uint64_t>(std::llround(*rate))), "images/s in training steps");
  }
  std::string body;
  for (const auto& [value, name] : figures) {
    body += "<div class=\"box figure\"><b>" + escape_html(value) + "</b><span>" + escape_html(name) + "</span></div>\n";
  }
  return body.empty() ? "" : "<div class=\"figures\">\n" + body + "</div>\n";
}

// ---- Single images and errors ---------------------------------------------------------------------------------------

std::string class_name(const Evaluation& evaluation, int64_t label) {
  if (label < 0 || static_cast<size_t>(label) >= evaluation.class_names.size()) return "?";
  const std::string& names = evaluation.class_names[static_cast<size_t>(label)];
  const std::string first = names.substr(0, names.find(','));
  return first.empty() ? evaluation.class_ids[static_cast<size_t>(label)] : first;
}

std::string samples(const Evaluation& evaluation, bool mistakes) {
  std::vector<ImageCard> cards;
  for (const SampleResult& sample : evaluation.samples) {
    if (sample.mistake != mistakes) continue;
    ImageCard card;
    card.image_url = image_url(sample.jpeg, kThumbnailEdge);
    card.caption = sample.label_name;
    card.note = "image " + std::to_string(sample.image) + (sample.label < 0 ? ", class not in the network" : "");
    for (const ScoredClass& best : sample.best) {
      card.bars.push_back({class_name(evaluation, best.label), best.probability, best.label == sample.label});
    }
    cards.push_back(std::move(card));
  }
  return cards.empty() ? "" : image_cards(cards);
}

std::string confusion_table(const Evaluation& evaluation, const ScopeResult& scope) {
  if (scope.confusions.empty()) return "";
  std::string rows = "<tr><th>Label</th><th>Top-1 prediction</th><th class=\"n\">images</th></tr>\n";
  for (size_t i = 0; i < std::min(kMaxPairs, scope.confusions.size()); ++i) {
    const auto& pair = scope.confusions[i];
    rows += "<tr>" + cell(class_name(evaluation, pair.label)) + cell(class_name(evaluation, pair.predicted)) +
            cell(grouped(pair.images), true) + "</tr>\n";
  }
  return "<div class=\"box\"><table>\n" + rows + "</table></div>";
}

/// The classes with the lowest (`worst`) or the highest top-1 accuracy.
std::string class_table(const Evaluation& evaluation, const ScopeResult& scope, bool worst) {
  std::vector<size_t> order(scope.members.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  const auto share = [&](size_t i) {
    return static_cast<double>(scope.class_top1[i]) / static_cast<double>(scope.class_images[i]);
  };
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return worst ? share(a) < share(b) : share(a) > share(b); });
  // If there are few classes, each is in only one of the two tables.
  order.resize(std::min((order.size() + 1) / 2, kMaxClasses));
  std::string rows = header({worst ? "Lowest top-1" : "Highest top-1", "images", "top-1", "top-5"});
  for (const size_t i : order) {
    rows += "<tr>" + cell(class_name(evaluation, scope.members[i])) +
            cell(grouped(static_cast<uint64_t>(scope.class_images[i])), true) + cell(percent_text(share(i)), true) +
            cell(percent_text(static_cast<double>(scope.class_top5[i]) / static_cast<double>(scope.class_images[i])),
                 true) +
            "</tr>\n";
  }
  return order.empty() ? "" : "<div class=\"box\"><table>\n" + rows + "</table></div>";
}

std::string evaluation_sections(const Evaluation& evaluation) {
  std::string body = section("Accuracy by class set", "", accuracy_table(evaluation));
  body += section("Images and predictions",
                  "An even sample of the evaluated images, with the top-5 predictions over all classes.",
                  samples(evaluation, false));
  body += section("Most confident errors", "The wrong top-1 predictions with the highest probability.",
                  samples(evaluation, true));
  const ScopeResult& scope = evaluation.scopes.back();
  body += section(
      "Top-1 by class", "Predictions among " + scope.title + ".",
      "<div class=\"two\">" + class_table(evaluation, scope, true) + class_table(evaluation, scope, false) + "</div>");
  return body + section("Most confused classes",
                        "Wrong top-1 predictions among " + scope.title + ", most frequent first.",
                        confusion_table(evaluation, scope));
}

Facts settings_facts(const Json& settings) {
  Facts facts;
  for (const auto& [name, value] : settings.items()) {
    facts.emplace_back(name, value.is_string() ? value.get<std::string>() : value.dump());
  }
  return facts;
}

}  // namespace

std::string page_around(const std::string& title, const std::string& body) {
  return "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
         "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>" +
         escape_html(title) + "</title>\n<style>" + kStyle + "</style></head>\n<body><main>\n" + body +
         "</main></body></html>\n";
}

std::string image_cards(const std::vector<ImageCard>& cards) {
  std::string body = "<div class=\"cards\">\n";
  for (const ImageCard& card : cards) {
    body += "<div class=\"box card\">";
    if (!card.image_url.empty()) {
      body += "<img alt=\"" + escape_html(card.caption) + "\" src=\"" + escape_html(card.image_url) + "\">";
    }
    body += "<p class=\"caption\" title=\"" + escape_html(card.caption) + "\">" + escape_html(card.caption) +
            "</p><p class=\"note\">" + escape_html(card.note) + "</p>";
    for (const ImageCard::Bar& bar : card.bars) {
      body += fmt::format("<div class=\"bar{}\"><i style=\"width:{:.1f}%\"></i><span>{}</span><b>{}</b></div>",
                          bar.right ? " right" : "", 100 * bar.probability, escape_html(bar.name),
                          percent_text(bar.probability));
    }
    body += "</div>\n";
  }
  return body + "</div>";
}

std::string report_page(const Report& report) {
  std::string body = "<h1>" + escape_html(report.title) + "</h1>\n<p class=\"about\">" + escape_html(report.about) +
                     "</p>\n" + headline(report);
  body += section("Learning curves", "", curves(report.tables));
  if (report.evaluation && !report.evaluation->scopes.empty()) body += evaluation_sections(*report.evaluation);
  body += section("Run details", "", facts_table(report.facts));
  body += section("Training settings", "", facts_table(settings_facts(report.settings)));
  return page_around("Packhorse: " + report.title, body);
}

}  // namespace packhorse

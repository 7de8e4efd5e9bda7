#include "report/metrics_file.h"

#include "hdf5/hdf5_file.h"

namespace packhorse {
namespace {

void copy_evaluation(const std::filesystem::path& path, Hdf5Writer& writer) {
  const Hdf5Reader reader(path);
  for (const std::string& name : reader.names("")) copy_hdf5(reader, name, writer, "evaluation/" + name);
  for (const std::string& name : reader.attribute_names("")) {
    if (name == "schema" || name.starts_with("fact_")) {
      writer.attribute("evaluation", name, reader.text_attribute("", name));
    } else {
      writer.attribute("evaluation", name, reader.integer_attribute("", name));
    }
  }
}

}  // namespace

void write_metrics(const std::filesystem::path& path, const Report& report) {
  Hdf5Writer writer(path);
  writer.attribute("", "schema", std::string(kMetricsSchema));
  writer.attribute("", "title", report.title);
  for (const auto& [name, value] : report.facts) writer.attribute("", name, value);
  writer.attribute("", "settings", report.settings.dump());
  write_tables(writer, report.tables);
  if (!report.evaluation_file.empty()) copy_evaluation(report.evaluation_file, writer);
  writer.commit();
}

}  // namespace packhorse

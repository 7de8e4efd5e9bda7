#include "report/export_files.h"

namespace packhorse {

void write_metrics(const std::filesystem::path& path, const Report& report, const std::filesystem::path& evaluation) {
  Hdf5Writer writer(path);
  writer.attribute("", "schema", std::string(kMetricsSchema));
  writer.attribute("", "title", report.title);
  for (const auto& [name, value] : report.facts) writer.attribute("", name, value);
  writer.attribute("", "settings", report.settings.dump());
  write_tables(writer, report.tables);
  if (!evaluation.empty()) {
    const Hdf5Reader reader(evaluation);
    for (const std::string& name : reader.names("")) copy_hdf5(reader, name, writer, "evaluation/" + name);
    for (const std::string& name : reader.attribute_names("")) {
      if (name == "schema" || name.starts_with("fact_")) {
        writer.attribute("evaluation", name, reader.text_attribute("", name));
      } else {
        writer.attribute("evaluation", name, reader.integer_attribute("", name));
      }
    }
  }
  writer.commit();
}

}  // namespace packhorse

// Takes the place of any stage: started through a link `lowbank-<stage>`, it reads that stage's
// recipe with the real machinery, and does what the file `behaviour` next to the link says
// ("<stage> fail", "<stage> interrupt", "<stage> terminate", "<stage> crash", "<stage> damaged": it
// cannot resume, "<stage> wait": until a signal; else it works).
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "config/make_stage_config.h"
#include "config/run_stage.h"
#include "config/stages/report_config.h"
#include "core/error.h"
#include "core/interrupt.h"
#include "core/json.h"
#include "core/log.h"

int main(int argc, char** argv) {
  namespace fs = std::filesystem;
  const fs::path link = argv[0];
  const std::string stage = link.filename().string().substr(std::string("lowbank-").size());
  const auto config = lowbank::make_stage_config(stage);
  std::ifstream behaviour_file(link.parent_path() / "behaviour");
  std::string who;
  std::string behaviour;
  behaviour_file >> who >> behaviour;
  if (who != stage) behaviour.clear();
  return lowbank::run_stage_erased(
      argc, argv, *config, [&](lowbank::RunDir* out, lowbank::Metrics& metrics) {
        const lowbank::Fields fields = config->fields();
        const lowbank::Field* const resume = lowbank::find_field(fields, "resume");
        const bool resumed = resume != nullptr && *std::get<const bool*>(resume->target);
        std::ofstream(link.parent_path() / "starts", std::ios::app)
            << fs::path(out->path()).filename().string() << (resumed ? " resumed" : "") << "\n";
        if (behaviour == "damaged" && resumed) throw lowbank::DamagedRecord("fake: damaged");
        if (behaviour == "fail") throw lowbank::IoError("fake: fails");
        out->begin();
        lowbank::print("printed by {}", stage);
        if (behaviour == "crash") std::raise(SIGKILL);
        if (behaviour == "interrupt") {  // as the terminal does: to both
          kill(getppid(), SIGINT);
          kill(getpid(), SIGINT);
        }
        if (behaviour == "terminate") kill(getppid(), SIGTERM);
        if (behaviour == "wait") {
          std::ofstream(link.parent_path() / "waiting") << "";
          for (int i = 0; i < 1000 && !lowbank::interrupt_requested(); ++i) {
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
          }
          if (!lowbank::interrupt_requested()) return;
          std::ofstream(link.parent_path() / "ended") << "";
          throw lowbank::Interrupted("fake: ended");
        }
        if (behaviour == "interrupt" || behaviour == "terminate") {
          out->append_metrics({{"step", 1}});
          for (int i = 0; i < 1000 && !lowbank::interrupt_requested(); ++i) {
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
          }
          if (lowbank::interrupt_requested()) throw lowbank::Interrupted("fake: saved");
        }
        if (const auto* const report = dynamic_cast<lowbank::ReportConfig*>(config.get())) {
          std::ofstream(report->page()) << "<html>";
          out->write("summary.txt", "the fake summary\n");
        }
        // A result depends on the settings and on the content of the inputs, and on nothing else.
        const auto fingerprint = lowbank::read_json(out->path("started.json"))["fingerprint"];
        std::string result = fingerprint["settings"].dump();
        for (const auto& [path, file] : fingerprint["inputs"].items())
          result += file["hash"].dump();
        out->write("result.txt", result);
        metrics["stage"] = stage;
      });
}

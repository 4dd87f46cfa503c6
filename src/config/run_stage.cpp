#include "config/run_stage.h"

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <new>
#include <string>
#include <system_error>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "config/command_line.h"
#include "config/output_rules.h"
#include "core/atomic_file.h"
#include "core/error.h"
#include "core/interrupt.h"
#include "core/log.h"
#include "core/memory.h"
#include "core/opened_files.h"
#include "core/standard_streams.h"

namespace lowbank {
namespace {

// A value that a file brought may be as long as the file. The place comes before it, the reason and
// the hint after it.
std::string without_middle(const std::string& message) {
  constexpr std::size_t kMaxBytes = 4000;  // an error with 20 tensors has about 2,000
  constexpr std::size_t kEndBytes = 1000;
  if (message.size() <= kMaxBytes) return message;
  return fmt::format("{} [... {} bytes ...] {}", message.substr(0, kMaxBytes - kEndBytes),
                     message.size() - kMaxBytes, message.substr(message.size() - kEndBytes));
}

int fail(const std::string& name, int exit_code, const std::string& message) {
  error_line(
      fmt::format("lowbank{}{}: {}", name.empty() ? "" : " ", name, without_middle(message)));
  return exit_code;
}

// LibTorch reports a failed allocation as a plain c10::Error, which this room does not know.
bool is_out_of_memory(const std::string& message) {
  return message.find("can't allocate memory") != std::string::npos ||
         message.find("out of memory") != std::string::npos;
}

// What other libraries throw goes on with a backtrace.
std::string first_line(const std::string& message) { return message.substr(0, message.find('\n')); }

}  // namespace

int guarded_main(const std::string& name, const std::function<int()>& body,
                 const std::function<std::vector<std::string>()>& memory_keys) {
  const auto memory_hint = [&]() -> std::string {
    const auto keys = memory_keys ? memory_keys() : std::vector<std::string>();
    return keys.empty() ? "" : fmt::format("; try a smaller {}", fmt::join(keys, " or "));
  };
  try {
    ignore_write_signals();
    open_standard_streams();
    const int exit_code = body();
    require_printed();
    return exit_code;
  } catch (const Error& e) {
    return fail(name, e.exit_code(), e.what());
  } catch (const std::bad_alloc&) {
    return fail(name, kExitEnvironment, "out of memory" + memory_hint());
  } catch (const std::system_error& e) {  // std::filesystem's, mostly
    return fail(name, kExitEnvironment, e.what());
  } catch (const std::exception& e) {
    if (is_out_of_memory(e.what())) {
      return fail(name, kExitEnvironment, "out of memory: " + first_line(e.what()) + memory_hint());
    }
    return fail(name, kExitBug, "internal error, please report it: " + first_line(e.what()));
  }
}

int run_stage_erased(int argc, char** argv, StageConfig& config,
                     const std::function<void(RunDir*, Metrics&)>& body) {
  const CommandInfo info = config.info();
  const auto work = [&] {
    install_signal_handlers();
    keep_tensor_memory();
    if (parse_command_line(std::vector<std::string>(argv + 1, argv + argc), config) ==
        ParseOutcome::kHelpShown) {
      return kExitOk;
    }
    check_outputs(config);
    forget_opened_files();  // the recipe's: its content is in the settings
    const char* const label = std::getenv("LOWBANK_STAGE_LABEL");
    configure_log({.quiet = config.common.quiet,
                   .json = config.common.json,
                   .stage_label = label != nullptr ? label : ""});
    Metrics metrics = Metrics::object();
    const auto run_body = [&](RunDir* out) {
      try {
        body(out, metrics);
      } catch (const ConfigError& e) {
        throw ConfigError(name_recipe(config, e.what()));
      }
    };
    const auto start = std::chrono::steady_clock::now();
    const auto seconds = [&] {
      return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    };
    if (const std::string folder = config.run_folder(); !folder.empty()) {
      RunDir out(folder, config);
      try {
        run_body(&out);
      } catch (const Interrupted&) {
        out.keep();
        throw;
      } catch (const DamagedRecord& e) {
        out.keep();
        if (label == nullptr) throw;
        warn("{}", e.what());
        return kExitStartAnew;
      }
      out.begin();
      out.write_metrics(metrics);
      out.finish(seconds());
      note("the results are in {}", folder);
    } else {
      const std::filesystem::path file = config.common.out;
      if (!file.empty()) {
        remove_dead_temporaries(file.parent_path().string(), file.filename().string());
      }
      run_body(nullptr);
      if (!file.empty()) note("the result is {}", file.string());
    }
    if (config.common.json) {
      configure_log({.quiet = true});
      print_line(metrics.dump(-1, ' ', false, Metrics::error_handler_t::replace));
    }
    return kExitOk;
  };
  return guarded_main(info.name, work, [&] { return config.info().memory_keys; });
}

}  // namespace lowbank

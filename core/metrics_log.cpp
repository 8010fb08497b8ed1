#include "core/metrics_log.hpp"

#include <cerrno>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/text.hpp"

namespace slicereduce {

namespace {

[[noreturn]] void fail(const char* what, const std::filesystem::path& path, const std::string& why) {
  throw Error(ErrorKind::io, concat("cannot ", what, " ", path.string(), ": ", why));
}

bool is_beyond(const nlohmann::json& line, std::int64_t last_step, const std::string& made_again) {
  const auto step = line.find("step");
  if (step == line.end() || !step->is_number()) {
    return false;
  }
  const auto last = static_cast<double>(last_step);
  const bool is_made_again = !made_again.empty() && line.contains(made_again);
  return step->get<double>() > last || (is_made_again && step->get<double>() == last);
}

/// Bytes at the beginning of the file that are whole lines up to `last_step`.
std::uintmax_t bytes_to_keep(const std::filesystem::path& path, std::int64_t last_step,
                             const std::string& made_again) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    fail("read", path, std::strerror(errno));
  }
  std::uintmax_t kept = 0;
  std::string text;
  // A line that ends with the file and not with a newline was torn by a crash.
  for (int number = 1; std::getline(file, text) && !file.eof(); ++number) {
    const auto line = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!line.is_object()) {
      throw Error(ErrorKind::input, concat(path.string(), ", line ", number,
                                           ": not a JSON object; remove the line, or move the file away"));
    }
    if (is_beyond(line, last_step, made_again)) {
      break;
    }
    kept += text.size() + 1;
  }
  if (file.bad()) {
    fail("read", path, std::strerror(errno));
  }
  return kept;
}

void take_off_the_rest(const std::filesystem::path& path, std::int64_t last_step,
                       const std::string& made_again) {
  std::error_code problem;
  if (!std::filesystem::is_regular_file(path, problem)) {
    return;
  }
  const auto kept = bytes_to_keep(path, last_step, made_again);
  if (kept != std::filesystem::file_size(path)) {
    std::filesystem::resize_file(path, kept, problem);
    if (problem) {
      fail("shorten", path, problem.message());
    }
  }
}

}  // namespace

MetricsLog::MetricsLog(const std::filesystem::path& path)
    : MetricsLog(path, std::numeric_limits<std::int64_t>::max(), {}) {}

MetricsLog::MetricsLog(const std::filesystem::path& path, std::int64_t last_step,
                       const std::string& made_again)
    : path_(path) {
  require_plain_file_or_none(path);
  take_off_the_rest(path, last_step, made_again);
  file_.open(path, std::ios::binary | std::ios::app);
  if (!file_) {
    fail("write", path, std::strerror(errno));
  }
}

MetricsLog MetricsLog::resume(const std::filesystem::path& path, std::int64_t last_step,
                              const std::string& made_again) {
  return {path, last_step, made_again};
}

void MetricsLog::write(const nlohmann::ordered_json& line) {
  require(line.is_object(), "a line of metrics is not an object");
  std::error_code unknown;
  const auto before = std::filesystem::file_size(path_, unknown);
  file_ << line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << '\n' << std::flush;
  if (!file_) {
    const std::string why = std::strerror(errno);
    // Takes off what there may be of the line, so that the next one is whole again.
    file_ = std::ofstream();
    if (!unknown) {
      std::filesystem::resize_file(path_, before, unknown);
    }
    file_.open(path_, std::ios::binary | std::ios::app);
    fail("append to", path_, why);
  }
}

}  // namespace slicereduce

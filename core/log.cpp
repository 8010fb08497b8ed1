#include "core/log.hpp"

#include <spdlog/logger.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>

#include <string>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/text.hpp"

namespace slicereduce {

struct Log::Sinks {
  explicit Sinks(int rank) : logger("slicereduce"), prefix(rank > 0 ? concat("[rank ", rank, "] ") : "") {}

  spdlog::logger logger;
  spdlog::sink_ptr terminal;
  std::string prefix;
};

Log::Log(std::shared_ptr<Sinks> sinks) : sinks_(std::move(sinks)) {}

Log Log::to_stderr(int rank) {
  auto sinks = std::make_shared<Sinks>(rank);
  sinks->terminal = std::make_shared<spdlog::sinks::stderr_color_sink_mt>();
  sinks->terminal->set_pattern("%^%L%$ %H:%M:%S %v");
  sinks->logger.sinks().push_back(sinks->terminal);
  sinks->logger.set_level(spdlog::level::debug);
  sinks->logger.flush_on(spdlog::level::debug);
  return Log(std::move(sinks));
}

Log Log::silent() { return Log(std::make_shared<Sinks>(0)); }

void Log::also_to(const std::filesystem::path& file) {
  require_plain_file_or_none(file);
  try {
    auto sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(file.string());
    sink->set_pattern("%Y-%m-%dT%H:%M:%S.%e %l %v");
    sinks_->logger.sinks().push_back(std::move(sink));
  } catch (const spdlog::spdlog_ex& failure) {
    throw Error(ErrorKind::io, concat("cannot write the log ", file.string(), ": ", failure.what()));
  }
}

void Log::hide_details() {
  if (sinks_->terminal) {
    sinks_->terminal->set_level(spdlog::level::info);
  }
}

// The text is passed as an argument, not as the format, so that braces in a path stay what they are.
void Log::detail(std::string_view line) const { sinks_->logger.debug("{}{}", sinks_->prefix, line); }
void Log::info(std::string_view line) const { sinks_->logger.info("{}{}", sinks_->prefix, line); }
void Log::warn(std::string_view line) const { sinks_->logger.warn("{}{}", sinks_->prefix, line); }
void Log::error(std::string_view line) const { sinks_->logger.error("{}{}", sinks_->prefix, line); }

}  // namespace slicereduce

#include "launcher/injected_faults.hpp"

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <map>
#include <optional>
#include <regex>
#include <sstream>
#include <thread>
#include <utility>

#include "core/error.hpp"
#include "core/text.hpp"

namespace slicereduce {

namespace {

const std::map<std::string, FaultKind> kKinds{
    {"kill", FaultKind::kill},         {"stop", FaultKind::stop},
    {"exit", FaultKind::exit},         {"error", FaultKind::error},
    {"nan-loss", FaultKind::nan_loss}, {"corrupt-weights", FaultKind::corrupt_weights},
    {"slow", FaultKind::slow},
};

const std::map<std::string, Phase> kPhases{
    {"start", Phase::starting}, {"checkpoint", Phase::saving}, {"evaluation", Phase::evaluating}};

bool is_of_a_step(FaultKind kind) {
  return kind == FaultKind::nan_loss || kind == FaultKind::corrupt_weights;
}

const std::string& name_of(FaultKind kind) {
  return std::ranges::find(kKinds, kind, [](const auto& entry) { return entry.second; })->first;
}

std::optional<Fault> parse_fault(const std::string& text) {
  // FAULT, milliseconds, rank, PLACE, step; lengths that an integer holds
  static const std::regex form(
      R"(([a-z-]+)(?::(\d{1,9})ms)?@rank(\d{1,9})(?::(?:(start|checkpoint|evaluation)|step(\d{1,18})))?)");
  constexpr std::size_t kLongest = 100;  // the library's matching takes stack for each character
  std::smatch part;
  if (text.size() > kLongest || !std::regex_match(text, part, form)) {
    return std::nullopt;
  }
  const auto kind = kKinds.find(part[1]);
  if (kind == kKinds.end() || (kind->second == FaultKind::slow) != part[2].matched) {
    return std::nullopt;
  }
  const bool has_step = part[5].matched;
  const bool has_place = has_step || part[4].matched || kind->second == FaultKind::slow;
  if (is_of_a_step(kind->second) ? !has_step : !has_place) {
    return std::nullopt;
  }
  if (has_step && std::stoll(part[5]) == 0) {
    return std::nullopt;  // they count from 1
  }
  Fault fault{.kind = kind->second, .rank = std::stoi(part[3])};
  if (part[2].matched) {
    fault.delay = std::chrono::milliseconds(std::stoll(part[2]));
  }
  if (part[4].matched) {
    fault.phase = kPhases.at(part[4]);
  }
  if (part[5].matched) {
    fault.step = std::stoll(part[5]);
  }
  return fault;
}

bool is_met(const Fault& fault, const Beat& beat) {
  if (fault.phase != beat.phase) {
    return false;
  }
  return fault.phase != Phase::training || fault.step == beat.step ||
         (fault.kind == FaultKind::slow && fault.step < beat.step);
}

}  // namespace

std::vector<Fault> parse_faults(const std::string& text) {
  std::vector<Fault> faults;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    const std::optional<Fault> fault = parse_fault(part);
    if (!fault) {
      throw Error(ErrorKind::usage,
                  concat("'", part,
                         "': expected FAULT@rankN:PLACE, as in kill@rank1:step7. FAULT is kill, stop, exit, "
                         "error, nan-loss, corrupt-weights or slow:200ms; PLACE is start, step7, checkpoint "
                         "or evaluation, of nan-loss and corrupt-weights a step (--inject)"));
    }
    faults.push_back(*fault);
  }
  return faults;
}

InjectedFaults::InjectedFaults(const std::string& text, int rank, Log log) : log_(std::move(log)) {
  std::ranges::copy_if(parse_faults(text), std::back_inserter(faults_),
                       [&](const Fault& fault) { return fault.rank == rank; });
}

void InjectedFaults::strike(const Beat& beat) {
  for (Fault& fault : faults_) {
    if (!is_met(fault, beat)) {
      continue;
    }
    if (!std::exchange(fault.announced, true)) {
      log_.warn(concat("broken on purpose (--inject): ", name_of(fault.kind), " at ", describe(beat)));
    }
    switch (fault.kind) {
      case FaultKind::kill:
        std::raise(SIGKILL);
        break;
      case FaultKind::stop:
        std::raise(SIGSTOP);
        break;
      case FaultKind::exit:
        std::_Exit(static_cast<int>(ExitCode::failed));
      case FaultKind::error:
        throw Error(ErrorKind::invariant, concat("an error at ", describe(beat), " (--inject)"));
      case FaultKind::slow:
        std::this_thread::sleep_for(fault.delay);
        break;
      case FaultKind::nan_loss:
      case FaultKind::corrupt_weights:
        break;  // whoever has them asks
    }
  }
}

bool InjectedFaults::has(FaultKind kind, std::int64_t step) const {
  return std::ranges::any_of(faults_,
                             [&](const Fault& fault) { return fault.kind == kind && fault.step == step; });
}

}  // namespace slicereduce

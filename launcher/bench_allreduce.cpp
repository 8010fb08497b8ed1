#include "launcher/bench_allreduce.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <iomanip>
#include <iostream>
#include <nlohmann/json.hpp>

#include "comm/allreduce_thread.hpp"
#include "comm/mpi_communicator.hpp"
#include "comm/wire.hpp"
#include "core/text.hpp"
#include "launcher/command_line.hpp"
#include "launcher/consensus.hpp"
#include "launcher/link_probe.hpp"
#include "launcher/resolved_options.hpp"
#include "launcher/slowest.hpp"

namespace slicereduce {

namespace {

struct AllreduceOptions {
  std::vector<double> sizes_mb{0.01, 0.1, 1, 10, 50};
  std::vector<std::string> wires{"fp32", "bf16"};
  std::string algorithm = "ring";
  std::string hierarchy = "off";
  std::int64_t repeats = 10;
  std::int64_t warmup = 2;
  double timeout_s = 300;
  bool json = false;

  [[nodiscard]] std::chrono::milliseconds timeout() const { return parse_timeout(timeout_s); }

  void validate() const {
    for (const auto& wire : wires) {
      (void)parse_wire_type(wire, "--wires");
    }
    const auto is_size = [](double mb) { return mb > 0 && mb <= 1e5; };
    if (!std::ranges::all_of(sizes_mb, is_size)) {
      throw Error(ErrorKind::usage, "--sizes: expected MB above 0, at most 100000");
    }
    validate_hierarchy(hierarchy);
    if (repeats < 1 || warmup < 0) {
      throw Error(ErrorKind::usage, "--repeats has to be positive, --warmup at least 0");
    }
    (void)timeout();
  }
};

/// 0 or 1, as chance has it (Knuth's multiplicative hash): a piece that lands in another's place is found.
std::uint32_t bit(std::size_t i) { return (static_cast<std::uint32_t>(i) * 2654435761U) >> 31; }

/// That for even ranks, the opposite for odd ones: every partial sum is a small integer, exact in each wire
/// type whatever the order, for twice as many ranks as 8 bits of precision count to.
float input(std::size_t i, int rank) {
  return static_cast<float>(bit(i) ^ (static_cast<std::uint32_t>(rank) & 1U));
}

constexpr int kMostExactRanks = 512;

struct Measurement {
  std::size_t numel = 0;
  WireType wire = WireType::fp32;
  double time_ms = 0;  ///< median over repeats of the slowest rank's
  double time_ms_p10 = 0;
  double time_ms_p90 = 0;
  bool exact = true;  ///< in all repeats, on all ranks

  [[nodiscard]] double bytes() const {
    return static_cast<double>(numel) * static_cast<double>(wire_size(wire));
  }
  /// As nccl-tests define them, in GB/s: bytes over time; and what a link carries of it, which an ideal ring
  /// makes equal to the link's rate for any number of ranks.
  [[nodiscard]] double algbw() const { return bytes() / time_ms / 1e6; }
  [[nodiscard]] double busbw(int ranks) const { return algbw() * 2 * (ranks - 1) / ranks; }
};

class Bench {
 public:
  Bench(const AllreduceOptions& options, Communicator& communicator)
      : options_(options), communicator_(communicator), thread_(communicator, options.timeout()) {}

  Measurement measure(double size_mb, WireType wire) {
    Measurement result{.numel = std::max<std::size_t>(1, std::lround(size_mb * 1e6 / wire_size(wire))),
                       .wire = wire};
    prepare(result);
    std::vector<double> times;
    for (std::int64_t i = 0; i < options_.warmup + options_.repeats; ++i) {
      encode(inputs_, 1, buffer_, wire);
      communicator_.barrier();
      const auto start = std::chrono::steady_clock::now();
      thread_.submit({.bytes = buffer_, .type = wire});
      (void)thread_.wait_all();
      const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
      if (i >= options_.warmup) {
        times.push_back(took.count());
      }
      result.exact = result.exact && is_exact(wire);
    }
    const std::vector<double> slowest = slowest_of_ranks(times, communicator_);
    result.time_ms = quantile(slowest, 0.5);
    result.time_ms_p10 = quantile(slowest, 0.1);
    result.time_ms_p90 = quantile(slowest, 0.9);
    result.exact = slowest_of_ranks(std::vector<double>{result.exact ? 0.0 : 1.0}, communicator_)[0] == 0.0;
    return result;
  }

 private:
  void prepare(const Measurement& result) {
    inputs_.resize(result.numel);
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      inputs_[i] = input(i, communicator_.rank());
    }
    buffer_.resize(result.numel * wire_size(result.wire));
  }

  [[nodiscard]] bool is_exact(WireType wire) const {
    const int ranks = communicator_.world_size();
    std::vector<float> sums(inputs_.size());
    decode(buffer_, wire, sums);
    for (std::size_t i = 0; i < sums.size(); ++i) {
      const auto expected = static_cast<float>(bit(i) == 0 ? ranks / 2 : (ranks + 1) / 2);
      if (sums[i] != expected) {
        return false;
      }
    }
    return true;
  }

  const AllreduceOptions& options_;
  Communicator& communicator_;
  std::vector<float> inputs_;
  std::vector<std::byte> buffer_;
  AllreduceThread thread_;  ///< last: it writes to the buffer
};

void print_json(const AllreduceOptions& options, const Measurement& m, int ranks) {
  const nlohmann::ordered_json line{{"bytes", static_cast<std::int64_t>(m.bytes())},
                                    {"wire", wire_name(m.wire)},
                                    {"algorithm", options.algorithm},
                                    {"hierarchy", options.hierarchy},
                                    {"world_size", ranks},
                                    {"repeats", options.repeats},
                                    {"time_ms", m.time_ms},
                                    {"time_ms_p10", m.time_ms_p10},
                                    {"time_ms_p90", m.time_ms_p90},
                                    {"algbw_gb_s", m.algbw()},
                                    {"busbw_gb_s", m.busbw(ranks)},
                                    {"exact", m.exact}};
  std::cout << line.dump() << std::endl;
}

void print_row(const Measurement& m, int ranks) {
  std::cout << std::fixed << std::setprecision(3) << std::setw(12) << m.bytes() / 1e6 << std::setw(6)
            << wire_name(m.wire) << std::setw(12) << m.time_ms << std::setw(12) << m.algbw() << std::setw(12)
            << m.busbw(ranks) << std::setw(14) << std::setprecision(1) << 8e3 * m.busbw(ranks) << "   "
            << (m.exact ? "exact" : "WRONG") << std::endl;
}

void print_header(const AllreduceOptions& options, int ranks) {
  std::cout << "AllReduce over " << ranks << " ranks, " << options.algorithm
            << (options.hierarchy == "on" ? " of nodes" : "") << ", medians of " << options.repeats
            << " of the slowest rank; busbw is algbw * 2 (n - 1) / n\n"
            << std::setw(12) << "MB" << std::setw(6) << "wire" << std::setw(12) << "ms" << std::setw(12)
            << "algbw GB/s" << std::setw(12) << "busbw GB/s" << std::setw(14) << "busbw Mbit/s" << '\n';
}

ExitCode bench_allreduce(const CLI::App& command, AllreduceOptions options, const MpiSession& session,
                         MpiCommunicator& communicator) {
  const int ranks = communicator.world_size();
  together(communicator, [&] {
    options.validate();
    if (ranks > kMostExactRanks) {
      throw Error(ErrorKind::usage, concat(ranks, " ranks: sums are checked for up to ", kMostExactRanks));
    }
  });
  require_same_options(command, communicator);
  options.hierarchy = settle_hierarchy(communicator, options.hierarchy, options.timeout()).value;
  if (!communicator.has_levels()) {
    options.hierarchy = "off";
  }
  const bool speaks = session.rank() == 0;
  if (speaks && !options.json) {
    print_header(options, ranks);
  }
  bool all_exact = true;
  Bench bench(options, communicator);
  for (const auto& wire : options.wires) {
    for (const double size_mb : options.sizes_mb) {
      const Measurement result = bench.measure(size_mb, parse_wire_type(wire));
      all_exact = all_exact && result.exact;
      if (speaks && options.json) {
        print_json(options, result, ranks);
      } else if (speaks) {
        print_row(result, ranks);
      }
    }
  }
  if (!all_exact) {
    throw SharedError(ErrorKind::mpi, "an AllReduce gave a wrong sum: this MPI library can't be trusted");
  }
  return ExitCode::done;
}

}  // namespace

void add_bench_allreduce(CLI::App& bench, Action& action) {
  CLI::App* command = bench.add_subcommand("allreduce", "AllReduce alone: time and bandwidth by size");
  const auto o = std::make_shared<AllreduceOptions>();
  command->add_option("--sizes", o->sizes_mb, "MB of the wire type, separated by commas")
      ->delimiter(',')
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command->add_option("--wires", o->wires, "fp32|bf16|fp16, separated by commas")
      ->delimiter(',')
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command->add_option(
      "--algorithm", o->algorithm,
      "ring, as training uses it, binomial, rabenseifner, recursive_doubling, or library: the MPI "
      "library's own choice");
  add_hierarchy_option(*command, o->hierarchy);
  command->add_option("--repeats", o->repeats, "AllReduces to measure");
  command->add_option("--warmup", o->warmup, "AllReduces before them");
  command->add_option("--timeout", o->timeout_s, "Seconds after which one that does not end is an error");
  command->add_flag("--json", o->json, "One JSON object a line");
  command->callback([command, o, &action] {
    action = [command, o](Arguments arguments) {
      choose_allreduce(parse_allreduce_algorithm(o->algorithm));
      return on_all_ranks(arguments,
                          [&](const MpiSession& session, MpiCommunicator& communicator, const Log&) {
                            return bench_allreduce(*command, *o, session, communicator);
                          });
    };
  });
}

}  // namespace slicereduce

#include "launcher/plan_figures.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <iomanip>
#include <set>
#include <sstream>
#include <string_view>
#include <utility>

#include "core/text.hpp"
#include "core/units.hpp"

namespace slicereduce {

namespace {

constexpr std::string_view kBold = "\x1b[1m";
constexpr std::string_view kGreen = "\x1b[32m";
constexpr std::string_view kYellow = "\x1b[33m";
constexpr std::string_view kRed = "\x1b[31m";
constexpr int kNameWidth = 26;
constexpr std::size_t kWidth = 11;
constexpr int kBarWidth = 24;

std::string fixed(double value, int digits) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(digits) << value;
  return out.str();
}

/// "0.25", "10": as people write a bandwidth.
std::string plain(double value) {
  std::ostringstream out;
  out << std::setprecision(3) << value;
  return out.str();
}

/// Lines of right-aligned cells behind a name. Escape codes take no columns: padding comes first.
class Table {
 public:
  Table(std::ostream& out, bool colour) : out_(out), colour_(colour) {}

  void heading(const std::string& name, const std::vector<std::string>& cells) {
    std::string line = padded_name(name);
    for (const std::string& cell : cells) {
      line += padded(cell);
    }
    out_ << painted(line, kBold) << '\n';
  }
  Table& name(const std::string& text, std::string_view style = {}) {
    out_ << painted(padded_name(text), style);
    return *this;
  }
  Table& cell(const std::string& text) {
    out_ << padded(text);
    return *this;
  }
  /// Of what there would be: the less the better.
  Table& share(double value) {
    put(fixed(value, 3), colour_of_share(value));
    return *this;
  }
  /// How many times as fast as the other.
  Table& gain(double value) {
    put(concat(fixed(value, 2), "x"), value < 1 ? kRed : kGreen);
    return *this;
  }
  Table& text(const std::string& text) {
    out_ << text;
    return *this;
  }
  void end() { out_ << '\n'; }

  [[nodiscard]] std::string painted(const std::string& text, std::string_view colour) const {
    constexpr std::string_view kPlain = "\x1b[0m";
    return colour_ && !colour.empty() ? concat(colour, text, kPlain) : text;
  }

 private:
  static std::string_view colour_of_share(double value) {
    constexpr double kLittle = 0.5;
    if (value >= 1) {
      return {};
    }
    return value <= kLittle ? kGreen : kYellow;
  }
  /// Padding is not painted: it has no text.
  void put(const std::string& text, std::string_view colour) {
    out_ << std::string(text.size() < kWidth ? kWidth - text.size() : 0, ' ') << painted(text, colour);
  }
  static std::string padded_name(const std::string& text) {
    return concat(std::left, std::setw(kNameWidth), text);
  }
  static std::string padded(const std::string& text) {
    return concat(std::setw(static_cast<int>(kWidth)), text);
  }

  std::ostream& out_;
  bool colour_;
};

/// A bar of `part` in one of `whole`, of a scale on which `largest` fills all: an eighth of a column is the
/// least of what there is.
std::string bar(double part, double whole, double largest) {
  static constexpr std::array<const char*, 8> kEighths{"▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"};
  const auto columns = [&](double value) { return largest > 0 ? value / largest * kBarWidth : 0; };
  const auto eighths = std::max(static_cast<int>(std::lround(8 * columns(part))), part > 0 ? 1 : 0);
  std::string text;
  for (int i = 0; i < eighths / 8; ++i) {
    text += kEighths.back();
  }
  int used = eighths / 8;
  if (eighths % 8 > 0) {
    text += kEighths[static_cast<std::size_t>(eighths % 8 - 1)];
    ++used;
  }
  for (; used < static_cast<int>(std::ceil(columns(whole))); ++used) {
    text += "░";
  }
  return text;
}

double wire_bytes(const PlanFigures& figures, const LayerCost& cost) {
  return static_cast<double>(cost.numel * figures.number_bytes);
}

double dense_bytes(const LayerCost& cost) { return 4.0 * static_cast<double>(cost.dense_numel); }

void print_layers(const PlanFigures& figures, TextStyle style, Table& table) {
  std::vector<std::string> columns{"wire", "dense", "of it", "FLOPs", "dense", "of it"};
  if (style.bars) {
    columns.emplace_back("    bytes");
  }
  table.heading("layer", columns);
  double largest = 0;
  for (const LayerCost& layer : figures.layers) {
    largest = std::max({largest, dense_bytes(layer), wire_bytes(figures, layer)});
  }
  const auto row = [&](const LayerCost& cost, bool is_total) {
    const double wire = wire_bytes(figures, cost);
    const double dense = dense_bytes(cost);
    const auto flops = static_cast<double>(cost.flops);
    const auto dense_flops = static_cast<double>(cost.dense_flops);
    table.name(cost.name, is_total ? kBold : std::string_view{})
        .cell(format_bytes(wire))
        .cell(format_bytes(dense))
        .share(wire / dense);
    table.cell(format_count(flops)).cell(format_count(dense_flops));
    if (dense_flops > 0) {
      table.share(flops / dense_flops);
    } else {
      table.cell("-");
    }
    if (style.bars && !is_total) {
      table.text("  ").text(bar(wire, dense, largest));
    }
    table.end();
  };
  for (const LayerCost& layer : figures.layers) {
    row(layer, /*is_total=*/false);
  }
  row(total_cost(figures.layers), /*is_total=*/true);
}

void print_network(const PlanFigures& figures, TextStyle style, std::ostream& out) {
  out << "\nwire: what a worker hands to AllReduce in a step, in " << figures.wire
      << "; dense: every gradient in fp32.\nFLOPs: of one image's forward pass.\n";
  if (style.bars) {
    out << "bytes: solid, what is sent; dotted, the rest of the dense fp32 gradient.\n";
  }
  out << "AllReduce over " << figures.world_size << " workers, " << figures.ranks_per_node << " a node, at "
      << fixed(figures.link_gbit, 1) << " Gbit/s, " << fixed(figures.latency_us, 1)
      << " us: " << fixed(figures.allreduce_ms, 1) << " ms; dense bf16 "
      << fixed(figures.dense_bf16_allreduce_ms, 1) << " ms; dense fp32 "
      << fixed(figures.dense_fp32_allreduce_ms, 1) << " ms\n";
  if (!figures.exact) {
    out << "Steps differ: the sampler keeps another number of channels each time, or groups of rows are not\n"
           "of one size. These figures are of k channels and the largest group.\n";
  }
}

void print_ratios(const PlanFigures& figures, Table& table) {
  table.heading("sample ratio", {"wire", "of fp32", "of bf16", "FLOPs", "of dense", "AllReduce", "faster"});
  for (const RatioCost& ratio : figures.ratios) {
    const double wire = wire_bytes(figures, ratio.total);
    const double dense = dense_bytes(ratio.total);
    const auto flops = static_cast<double>(ratio.total.flops);
    table.name(plain(ratio.ratio)).cell(format_bytes(wire)).share(wire / dense).share(2 * wire / dense);
    table.cell(format_count(flops)).share(flops / static_cast<double>(ratio.total.dense_flops));
    table.cell(concat(fixed(ratio.allreduce_ms, 1), " ms"));
    table.gain(figures.dense_bf16_allreduce_ms / ratio.allreduce_ms).end();
  }
}

void print_predictions(const PlanFigures& figures, Table& table) {
  table.heading("workers", {"ours", "buckets", "DDP bf16", "faster"});
  for (const StepPrediction& step : figures.predictions) {
    table.name(std::to_string(step.world_size)).cell(concat(fixed(step.ours_ms, 1), " ms"));
    table.cell(concat(plain(step.bucket_mb), " MB")).cell(concat(fixed(step.ddp_ms, 1), " ms"));
    table.gain(step.ddp_ms / step.ours_ms).end();
  }
}

void print_sweep(const PlanFigures& figures, Table& table) {
  std::set<std::int64_t> world_sizes;
  std::set<std::pair<double, double>> links;
  for (const SweepCell& cell : figures.sweep) {
    world_sizes.insert(cell.world_size);
    links.emplace(cell.link_gbit, cell.latency_us);
  }
  std::vector<std::string> columns;
  for (const std::int64_t ranks : world_sizes) {
    columns.push_back(concat(ranks, " workers"));
  }
  table.heading("Gbit/s", columns);
  for (const auto& [gbit, latency_us] : links) {
    const bool has_its_own = latency_us != figures.latency_us;
    table.name(has_its_own ? concat(plain(gbit), ", ", plain(latency_us), " us") : plain(gbit));
    for (const SweepCell& cell : figures.sweep) {
      if (std::pair(cell.link_gbit, cell.latency_us) == std::pair(gbit, latency_us)) {
        table.gain(cell.ddp_ms / cell.ours_ms);
      }
    }
    table.end();
  }
}

std::string spoken_rate(double gbit) {
  return gbit < 1 ? concat(plain(1e3 * gbit), " Mbit/s") : concat(plain(gbit), " Gbit/s");
}

std::string spoken_answer(const BreakEven& at) {
  switch (at.kind) {
    case BreakEven::Kind::always:
      return "any link";
    case BreakEven::Kind::never:
      return "no link";
    case BreakEven::Kind::below:
      break;
  }
  return concat("links below ", spoken_rate(at.gbit));
}

/// A line for each run of equal answers.
void print_worth_it(const std::vector<WorthIt>& worth_it, std::ostream& out) {
  for (std::size_t first = 0; first < worth_it.size();) {
    const std::string answer = spoken_answer(worth_it[first].at);
    std::size_t end = first + 1;
    while (end < worth_it.size() && spoken_answer(worth_it[end].at) == answer) {
      ++end;
    }
    out << "With " << worth_it[first].world_size;
    if (end - first > 1) {
      out << " to " << worth_it[end - 1].world_size;
    }
    out << " workers a step is faster than DDP's with the bf16 hook on " << answer << ".\n";
    first = end;
  }
}

nlohmann::ordered_json cost_to_json(const LayerCost& cost, std::int64_t number_bytes) {
  return {{"name", cost.name},
          {"wire_bytes", cost.numel * number_bytes},
          {"dense_bytes", cost.dense_numel * 4},
          {"flops", cost.flops},
          {"dense_flops", cost.dense_flops}};
}

const char* name_of(BreakEven::Kind kind) {
  switch (kind) {
    case BreakEven::Kind::always:
      return "always";
    case BreakEven::Kind::never:
      return "never";
    case BreakEven::Kind::below:
      break;
  }
  return "below";
}

}  // namespace

void print_text(const PlanFigures& figures, TextStyle style, std::ostream& out) {
  Table table(out, style.colour);
  print_layers(figures, style, table);
  print_network(figures, style, out);
  if (!figures.ratios.empty()) {
    out << "\nRatios, with an AllReduce as above; faster: than that of a dense bf16 gradient\n";
    print_ratios(figures, table);
  }
  if (!figures.predictions.empty()) {
    out << "\nA step, predicted from measured compute and links of " << plain(figures.link_gbit)
        << " Gbit/s\n";
    print_predictions(figures, table);
  }
  if (!figures.sweep.empty()) {
    out << (figures.sweeps_steps
                ? "\nHow much faster a step is than DDP's with the bf16 hook, predicted from measured "
                  "compute\n"
                : "\nHow much faster the AllReduce is than that of a dense bf16 gradient (for whole steps: "
                  "--measured)\n");
    print_sweep(figures, table);
  }
  if (!figures.worth_it.empty()) {
    out << '\n';
    print_worth_it(figures.worth_it, out);
  }
}

nlohmann::ordered_json to_json(const PlanFigures& figures) {
  nlohmann::ordered_json json{{"arch", figures.arch},
                              {"image_size", figures.image_size},
                              {"exact", figures.exact},
                              {"layers", nlohmann::ordered_json::array()}};
  for (const LayerCost& layer : figures.layers) {
    json["layers"].push_back(cost_to_json(layer, figures.number_bytes));
  }
  json["total"] = cost_to_json(total_cost(figures.layers), figures.number_bytes);
  json["total"]["allreduce_ms"] = figures.allreduce_ms;
  json["total"]["dense_bf16_allreduce_ms"] = figures.dense_bf16_allreduce_ms;
  json["total"]["dense_fp32_allreduce_ms"] = figures.dense_fp32_allreduce_ms;
  for (const RatioCost& ratio : figures.ratios) {
    auto entry = cost_to_json(ratio.total, figures.number_bytes);
    entry["name"] = figures.arch;
    entry["sample_ratio"] = ratio.ratio;
    entry["allreduce_ms"] = ratio.allreduce_ms;
    json["ratios"].push_back(std::move(entry));
  }
  for (const StepPrediction& step : figures.predictions) {
    json["predictions"].push_back({{"world_size", step.world_size},
                                   {"step_ms", step.ours_ms},
                                   {"bucket_mb", step.bucket_mb},
                                   {"ddp_bf16_step_ms", step.ddp_ms}});
  }
  const std::string what = figures.sweeps_steps ? "step_ms" : "allreduce_ms";
  for (const SweepCell& cell : figures.sweep) {
    json["sweep"].push_back({{"link_gbit", cell.link_gbit},
                             {"latency_us", cell.latency_us},
                             {"world_size", cell.world_size},
                             {what, cell.ours_ms},
                             {"ddp_bf16_" + what, cell.ddp_ms}});
  }
  for (const WorthIt& worth : figures.worth_it) {
    nlohmann::ordered_json entry{{"world_size", worth.world_size}, {"faster", name_of(worth.at.kind)}};
    if (worth.at.kind == BreakEven::Kind::below) {
      entry["below_gbit"] = worth.at.gbit;
    }
    json["break_even"].push_back(std::move(entry));
  }
  return json;
}

}  // namespace slicereduce

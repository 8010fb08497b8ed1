#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/checkpoint_file.hpp"
#include "models/network.hpp"
#include "sampling/plan.hpp"

namespace slicereduce {

/// What a checkpoint says about itself, besides tensors.
struct Manifest {
  std::string version;
  std::string arch;
  std::string coupling;
  bool sample_classifier = false;
  std::int64_t in_channels = 0;
  std::int64_t num_classes = 0;
  std::int64_t image_size = 0;
  std::uint64_t seed = 0;
  std::int64_t step = 0;  ///< steps done
  int world_size = 1;
  std::int64_t steps_per_epoch = 0;
  std::int64_t images_per_step = 0;  ///< of all workers; 0: an earlier version, which did not say
  std::string mode = "compact";      ///< of the last step
  double ratio = 1;                  ///< of the plan in force
  double slice_ratio = 1;            ///< of the slices in force, in mode feedback
  double products_ratio = 1;         ///< of the last step in mode approximate
  bool settles = true;               ///< whether its sampler's sets come to rest
  double top1 = -1;                  ///< of the network that --eval-network auto means; -1: not evaluated
  double best_top1 = -1;             ///< of the run so far
  std::string options;               ///< config.toml's text

  [[nodiscard]] nlohmann::ordered_json to_json() const;
  /// Throws Error(input) naming `where` and the key that is missing or of another type.
  [[nodiscard]] static Manifest from_json(const std::string& text, const std::string& where);
  [[nodiscard]] Layout layout() const;

 private:
  void require_ranges(const std::string& where) const;
};

/// A network at rest: all that is needed to go on, to evaluate, or to export.
struct Checkpoint {
  Manifest manifest;
  StateDict weights;
  StateDict momentum;
  StateDict statistics;
  StateDict recalibrated;  ///< statistics of the exact network; empty where it was not evaluated
  StateDict channels;      ///< the plan in force, and what its sampler counts
  StateDict slices;        ///< the same of the gradient's slices; empty without mode feedback
  StateDict factors;       ///< slot<s>: what the reducer remembers
  StateDict owed;          ///< rank<r>.<parameter>: what each rank has not sent yet
};

/// Tensors by number as tensors by name, without the undefined ones; and back, `count` of them.
[[nodiscard]] StateDict state_by_slot(const std::vector<at::Tensor>& tensors);
[[nodiscard]] std::vector<at::Tensor> tensors_by_slot(const StateDict& state, std::size_t count);

void save_checkpoint(const std::filesystem::path& path, const Checkpoint& checkpoint);
/// Which of the tensors rank<r>.<parameter> that ranks owe are wanted: for many ranks they are most of a
/// file.
using WantedDebts = std::function<bool(const Manifest& manifest, std::string_view name)>;
/// Without `wanted` all that is owed. Throws Error(input) naming the file where it is damaged or of another
/// kind.
[[nodiscard]] Checkpoint load_checkpoint(const std::filesystem::path& path, const WantedDebts& wanted = {});
/// The manifest alone, of a file that is checked as a whole.
[[nodiscard]] Manifest load_manifest(const std::filesystem::path& path);

/// A network made from a checkpoint, with the statistics and the plan that it holds.
struct LoadedNetwork {
  /// Fresh weights, everything kept.
  explicit LoadedNetwork(Manifest saved, at::Device device = at::kCPU);

  Manifest manifest;
  Network network;
  Plan plan;
  NormStatistics exact_statistics;  ///< of the exact network: recalibrated where the checkpoint has them
  bool recalibrated = false;
};
[[nodiscard]] std::unique_ptr<LoadedNetwork> load_network(const std::filesystem::path& path,
                                                          at::Device device = at::kCPU);

/// The checkpoints of a run: step-00000040.ckpt and so on, and best.ckpt.
class CheckpointFolder {
 public:
  CheckpointFolder(std::filesystem::path folder, std::int64_t keep);

  /// Renames checkpoints of later steps than `step`, from which a run goes on, to NAME.aside: they are
  /// damaged, or of another way that the run took, and must neither be resumed nor push out those to come.
  /// Returns their new names. Throws Error(io).
  [[nodiscard]] std::vector<std::filesystem::path> set_aside_beyond(std::int64_t step) const;

  /// Removes what a run that was killed has left half written. For whoever holds the run's lock.
  void remove_unfinished() const;

  /// Writes the checkpoint of its step, and removes all but the newest `keep`. Returns its path. Throws
  /// Error(io); older checkpoints are then untouched.
  std::filesystem::path save(const Checkpoint& checkpoint) const;
  /// Makes best.ckpt a second name of what save() returned. Throws Error(io); it is then as it was.
  void make_best(const std::filesystem::path& path) const;
  /// The newest file that verifies. Files that don't are told to `on_damaged` and passed over.
  [[nodiscard]] std::optional<std::filesystem::path> newest_valid(
      const std::function<void(const std::string&)>& on_damaged) const;
  [[nodiscard]] bool empty() const { return files().empty(); }

 private:
  /// Oldest first.
  [[nodiscard]] std::vector<std::filesystem::path> files() const;

  std::filesystem::path folder_;
  std::int64_t keep_;
};

}  // namespace slicereduce

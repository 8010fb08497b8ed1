#pragma once

#include <ATen/TensorIndexing.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "comm/communicator.hpp"
#include "comm/in_process.hpp"
#include "comm/low_rank_reducer.hpp"
#include "comm/reducer.hpp"
#include "launcher/consensus.hpp"
#include "launcher/training_state.hpp"
#include "launcher/training_step.hpp"
#include "models/cost.hpp"
#include "sampling/planner.hpp"
#include "tests/support/recording_reducer.hpp"
#include "tests/support/tiny_network.hpp"

/// What a training step promises, on however many ranks the communicator has. Every rank calls these.
namespace slicereduce::testing {

struct Variant {
  std::string arch = "resnet20";
  double dropout = 0;
  Coupling coupling = Coupling::block;
  Mode mode = Mode::compact;
  std::string sampler = "auto";
  std::string approximate = "forward";
  std::string term_norms = "both";
  double ratio = 0.5;
  double output_ratio = 1;
  WireType wire = WireType::fp32;
  std::int64_t powersgd_rank = 0;
  double least_compression = 1;
  bool sample_classifier = false;
  std::string join = "as_they_are";
  ReduceWhat reduce = ReduceWhat::slices;
  Precision precision = Precision::fp32;
  bool overlap = true;
  bool looks_before_updates = false;
  double lr = 0.05;
  at::Device device = at::kCPU;
};

inline TrainOptions options_of(const Variant& variant) {
  TrainOptions options;
  options.seed = 3;
  options.network.arch = variant.arch;
  options.network.dropout = variant.dropout;
  options.network.approximate = variant.approximate;
  options.network.term_norms = variant.term_norms;
  options.network.coupling = to_string(variant.coupling);
  options.network.mode = to_string(variant.mode);
  options.network.sampler = variant.sampler;
  options.network.size.ratio = variant.ratio;
  options.network.sample_classifier = variant.sample_classifier;
  options.network.join = variant.join;
  if (variant.mode == Mode::approximate) {
    options.network.size.minimal_k = 1;  // of few examples too
    options.network.size.channel_multiple = 1;
  }
  options.network.slice_output_ratio = variant.output_ratio;
  options.step.reduce = variant.powersgd_rank > 0 ? "powersgd" : "slices";
  options.step.powersgd_rank = variant.powersgd_rank > 0 ? variant.powersgd_rank : kDefaultPowersgdRank;
  options.step.sgd = {.momentum = 0.9, .weight_decay = 0.01};
  return options;
}

/// A network in training on one rank, with a few small buckets so that there is something to overlap.
class Training {
 public:
  Training(const Variant& variant, Communicator& communicator)
      : variant_(variant),
        communicator_(communicator),
        state(options_of(variant), 3, 10, variant.device),
        reducer(make_reducer(variant, communicator)),
        recorder(*reducer),
        step(network, sgd, recorder, config_of(variant), state.feedback()) {}

  static TrainingStepConfig config_of(const Variant& variant) {
    return {.precision = variant.precision,
            .reduce = variant.reduce,
            .owes_losses = variant.powersgd_rank > 0,
            .looks_before_updates = variant.looks_before_updates};
  }
  static ReducerConfig small_buckets(const Variant& variant, const Communicator& communicator) {
    const bool is_alone = communicator.world_size() == 1 && variant.powersgd_rank == 0;
    return {.wire = variant.wire,
            .bucket_bytes = 100'000,
            .first_bucket_bytes = 10'000,
            .overlap = variant.overlap,
            .timeout = std::chrono::seconds(60),
            .device = is_alone ? variant.device : communicator.device()};
  }

  /// Each rank has images of its own, the same ones at the same step of every training.
  StepResult train_one() {
    return train_one(state.plans(steps_, variant_.mode, variant_.mode == Mode::dense ? 1.0 : variant_.ratio));
  }
  StepResult train_one(const Plan& plan) { return train_one(StepPlans{.network = plan}); }
  StepResult train_one(const StepPlans& plans) {
    return train_one(plans, batch_of(steps_, communicator_.rank()));
  }
  StepResult train_one(const StepPlans& plans, const Microbatch& own) {
    const std::vector<Microbatch> batch{own};
    const auto result = step.run(plans, batch, variant_.lr);
    EXPECT_TRUE(result.has_value());
    ++steps_;
    return *result;
  }

  [[nodiscard]] Microbatch batch_of(std::int64_t at, int rank) const {
    at::Generator generator = at::detail::createCPUGenerator(1000 * static_cast<std::uint64_t>(at) +
                                                             static_cast<std::uint64_t>(rank));
    const at::Tensor images = at::randn({4, 3, 16, 16}, generator).contiguous(at::MemoryFormat::ChannelsLast);
    const at::Tensor labels = at::randint(0, 10, {4}, generator, at::kLong);
    return {.images = images.to(network.device()), .labels = labels.to(network.device()), .number = rank};
  }

  void take_state_of(const Training& other) {
    for (std::size_t p = 0; p < network.parameters().size(); ++p) {
      network.parameters()[p].value.copy_(other.network.parameters()[p].value);
      sgd.momentum()[p].copy_(other.sgd.momentum()[p]);
    }
    sgd.refresh_norms();
  }

  void expect_replicas_equal() {
    require_agreement(communicator_, {{"weights", std::to_string(network.weights_digest())}});
  }

 private:
  static std::unique_ptr<GradientReducer> make_reducer(const Variant& variant, Communicator& communicator) {
    const ReducerConfig config = small_buckets(variant, communicator);
    if (variant.powersgd_rank > 0) {
      return std::make_unique<LowRankReducer>(
          communicator, config,
          LowRankConfig{.rank = variant.powersgd_rank, .least_compression = variant.least_compression});
    }
    return std::make_unique<Reducer>(communicator, config);
  }

  Variant variant_;
  Communicator& communicator_;
  std::int64_t steps_ = 0;

 public:
  TrainingState state;
  Network& network = state.network;
  SlicedSgd& sgd = state.sgd;
  Planner& planner = state.planner;
  std::unique_ptr<GradientReducer> reducer;
  RecordingReducer recorder;
  TrainingStep step;
};

inline double relative_distance(const Network& a, const Network& b) {
  double distance = 0;
  double norm = 0;
  for (std::size_t p = 0; p < a.parameters().size(); ++p) {
    const at::Tensor reference = b.parameters()[p].value.cpu();
    distance += (a.parameters()[p].value.cpu() - reference).square().sum().item<double>();
    norm += reference.square().sum().item<double>();
  }
  return std::sqrt(distance / norm);
}

/// The same sampled network, its gradient reduced as slices or among the zeros of the dense one. Sums of two
/// are the same bits whatever is beside them. A ring over more ranks cuts the two at other places and sums in
/// another order: then each step, from the same state, agrees to the rounding of that sum. (Compared over
/// many steps they part, since a rounding error can change which of two near-equal channels top-k keeps.)
inline void train_slices_and_dense(Communicator& communicator, Variant variant) {
  Training slices(variant, communicator);
  variant.reduce = ReduceWhat::dense;
  Training dense(variant, communicator);
  for (int i = 0; i < 5; ++i) {
    EXPECT_LT(slices.train_one().wire_bytes, dense.train_one().wire_bytes);
    if (communicator.world_size() <= 2) {
      ASSERT_EQ(slices.network.weights_digest(), dense.network.weights_digest()) << "step " << i;
    } else {
      EXPECT_LT(relative_distance(slices.network, dense.network), 1e-6) << "step " << i;
      dense.take_state_of(slices);
    }
  }
}

inline void expect_slices_equal_dense(Communicator& communicator) {
  train_slices_and_dense(communicator, {});
  train_slices_and_dense(communicator, {.sample_classifier = true});
}

/// Each step from the same state, on the same sets: equal to rounding.
inline void expect_coupled_trains_like_uncoupled(Communicator& communicator) {
  Training coupled({}, communicator);
  Training uncoupled({.coupling = Coupling::none}, communicator);
  for (int i = 0; i < 3; ++i) {
    const Plan plan = coupled.planner.plan(static_cast<std::uint64_t>(i), 0.5, coupled.sgd.norms());
    const StepResult a = coupled.train_one(plan);
    const StepResult b = uncoupled.train_one(plan);
    EXPECT_NEAR(a.loss, b.loss, 1e-5 * b.loss);
    EXPECT_LT(a.wire_bytes, b.wire_bytes);
    EXPECT_LT(relative_distance(coupled.network, uncoupled.network), 1e-5) << "step " << i;
    uncoupled.take_state_of(coupled);
  }
}

inline void expect_wire_bytes_of_the_plan(Communicator& communicator) {
  for (const WireType wire : {WireType::fp32, WireType::bf16}) {
    for (const Coupling coupling : {Coupling::block, Coupling::none}) {
      for (const double ratio : {0.25, 0.5, 1.0}) {
        Training training(
            {.coupling = coupling, .ratio = ratio, .wire = wire, .sample_classifier = ratio < 0.5},
            communicator);
        const Layout& layout = training.network.layout();
        const auto cost = total_cost(layer_costs(layout, plan_of_size(layout, {.ratio = ratio}), 16));
        EXPECT_EQ(training.train_one().wire_bytes, cost.numel * static_cast<std::int64_t>(wire_size(wire)));
      }
    }
  }
}

inline void expect_overlap_changes_nothing(Communicator& communicator) {
  Training on({}, communicator);
  Training off({.overlap = false}, communicator);
  for (int i = 0; i < 3; ++i) {
    (void)on.train_one();
    (void)off.train_one();
  }
  EXPECT_EQ(on.network.weights_digest(), off.network.weights_digest());
}

/// The weights of a slot change when its mean is there, not sooner, and before the next one's is waited for.
inline void expect_weights_to_change_slot_by_slot(Communicator& communicator) {
  for (const Mode mode : {Mode::compact, Mode::feedback}) {
    for (const std::int64_t powersgd_rank : {0, 2}) {
      const Variant variant{.mode = mode, .wire = WireType::bf16, .powersgd_rank = powersgd_rank};
      Training watched(variant, communicator);
      Training plain(variant, communicator);
      const std::size_t last = watched.network.parameters().size() - 1;
      std::vector<at::Tensor> before(last + 1);
      const auto has_changed = [&](std::size_t slot) {
        return !watched.network.parameters()[last - slot].value.equal(before[last - slot]);
      };
      std::size_t watched_slots = 0;
      watched.recorder.watch_slots([&](std::size_t slot) {
        EXPECT_FALSE(has_changed(slot)) << slot;
        EXPECT_TRUE(slot == 0 || has_changed(slot - 1)) << slot;
        ++watched_slots;
      });
      for (int i = 0; i < 3; ++i) {
        for (std::size_t p = 0; p <= last; ++p) {
          before[p] = watched.network.parameters()[p].value.clone();
        }
        (void)watched.train_one();
        (void)plain.train_one();
      }
      EXPECT_EQ(watched_slots, 3 * (last + 1));
      EXPECT_EQ(watched.network.weights_digest(), plain.network.weights_digest());
    }
  }
}

inline void train_and_compare_replicas(const Variant& variant, Communicator& communicator) {
  Training training(variant, communicator);
  for (int i = 0; i < 4; ++i) {
    (void)training.train_one();
    training.expect_replicas_equal();
  }
}

inline void expect_replicas_stay_equal(Communicator& communicator) {
  for (const auto& sampler : sampler_names()) {
    train_and_compare_replicas({.sampler = sampler, .wire = WireType::bf16}, communicator);
  }
  train_and_compare_replicas({.wire = WireType::fp16, .precision = Precision::bf16}, communicator);
  train_and_compare_replicas({.wire = WireType::bf16, .powersgd_rank = 2, .sample_classifier = true},
                             communicator);
  for (const std::string sampler : {"aged", "cyclic"}) {
    for (const double output_ratio : {1.0, 0.5}) {
      train_and_compare_replicas({.mode = Mode::feedback,
                                  .sampler = sampler,
                                  .ratio = 0.25,
                                  .output_ratio = output_ratio,
                                  .wire = WireType::bf16},
                                 communicator);
    }
  }
  for (const Mode mode : kModes) {
    train_and_compare_replicas({.mode = mode, .wire = WireType::bf16, .powersgd_rank = 2}, communicator);
  }
  for (const auto& approximate : {"forward", "black_box", "backward"}) {
    train_and_compare_replicas({.mode = Mode::approximate,
                                .sampler = "bernoulli",
                                .approximate = approximate,
                                .wire = WireType::bf16,
                                .reduce = ReduceWhat::dense},
                               communicator);
  }
}

/// Terms chosen by the weights alone are those that the published scheme's compact network keeps.
inline void expect_approximation_by_weights_to_be_the_compact_network(Communicator& communicator) {
  Training compact({.coupling = Coupling::none}, communicator);
  Training approximate({.coupling = Coupling::none, .mode = Mode::approximate, .term_norms = "weights"},
                       communicator);
  Training exact({.mode = Mode::dense}, communicator);
  for (int i = 0; i < 3; ++i) {
    const StepResult a = compact.train_one();
    const StepResult b = approximate.train_one();
    (void)exact.train_one();
    EXPECT_NEAR(a.loss, b.loss, 1e-5 * b.loss);
    EXPECT_LT(a.wire_bytes, b.wire_bytes);
    EXPECT_LT(relative_distance(compact.network, approximate.network), 1e-5) << "step " << i;
    EXPECT_GT(relative_distance(exact.network, approximate.network), 1e-4) << "step " << i;
    approximate.take_state_of(compact);
    exact.take_state_of(compact);
  }
}

/// Channels that join from zero leave the network's function as it was, and are trained from then on.
inline void expect_joining_from_zero_to_keep_the_function(Communicator& communicator, Coupling coupling,
                                                          Mode next, double next_ratio) {
  Training training({.arch = "resnet18", .coupling = coupling, .ratio = 0.25, .join = "zero"}, communicator);
  for (int i = 0; i < 2; ++i) {
    (void)training.train_one();
  }
  const at::Tensor images = random_images(4, 32).to(training.network.device());
  const auto logits_of = [&](const Plan& plan) {
    const at::NoGradGuard no_gradient;
    CompactNetwork compact;
    training.network.gather(plan, Precision::fp32, compact);
    NormStatistics statistics = training.network.statistics().clone();
    return training.network.forward(compact, images, statistics, {});
  };
  const Plan sampled = training.planner.current();
  const at::Tensor before = logits_of(sampled);
  const at::Tensor whole = logits_of(Plan::full(training.planner.sites()));
  EXPECT_GT((whole - before).abs().max().item<double>(), 1e-2);

  const StepPlans plans = training.state.plans(2, next, next_ratio);
  EXPECT_NE(plans.network, sampled);
  EXPECT_LT((logits_of(plans.network) - before).abs().max().item<double>(), 1e-4);
  (void)training.train_one(plans);
  double joined = 0;
  for (const SlicedParameter& parameter : training.network.parameters()) {
    if (!parameter.shape.vector && parameter.shape.column_site) {
      const auto& kept = sampled.sets[*parameter.shape.column_site].kept;
      const at::Tensor others = parameter.value.clone();
      others.index_fill_(1, at::tensor(std::vector<std::int64_t>(kept.begin(), kept.end())), 0);
      joined += others.abs().sum().item<double>();
    }
  }
  EXPECT_GT(joined, 0);
}

inline void expect_joining_from_zero_to_keep_the_function(Communicator& communicator) {
  for (const Coupling coupling : {Coupling::block, Coupling::none}) {
    expect_joining_from_zero_to_keep_the_function(communicator, coupling, Mode::compact, 0.5);
    expect_joining_from_zero_to_keep_the_function(communicator, coupling, Mode::dense, 1);
  }
}

/// Two microbatches draw terms, and drop features, each for itself.
inline void expect_microbatches_to_draw_their_own(Communicator& communicator) {
  for (const Variant& variant : {Variant{.mode = Mode::approximate, .sampler = "bernoulli"},
                                 Variant{.arch = "wrn-10-1", .dropout = 0.5, .mode = Mode::dense}}) {
    const auto loss_of = [&](std::int64_t number) {
      Training training(variant, communicator);
      Microbatch batch = training.batch_of(0, 0);
      batch.number = number;
      const StepPlans plans = training.state.plans(0, variant.mode, variant.ratio);
      return training.step.run(plans, std::span<const Microbatch>(&batch, 1), variant.lr).value().loss;
    };
    EXPECT_EQ(loss_of(0), loss_of(0));
    EXPECT_NE(loss_of(0), loss_of(1));
  }
}

/// Whether forward passes, and gradients, are those of the exact network.
inline void expect_approximations_to_be_where_they_should(Communicator& communicator) {
  Training exact({.mode = Mode::dense}, communicator);
  Training forward({.mode = Mode::approximate}, communicator);
  Training black_box({.mode = Mode::approximate, .approximate = "black_box"}, communicator);
  Training backward({.mode = Mode::approximate, .approximate = "backward"}, communicator);
  Training whole({.mode = Mode::approximate, .ratio = 1}, communicator);
  const double loss = exact.train_one().loss;
  EXPECT_DOUBLE_EQ(backward.train_one().loss, loss);
  EXPECT_DOUBLE_EQ(whole.train_one().loss, loss);
  const double sampled_loss = forward.train_one().loss;
  EXPECT_NE(sampled_loss, loss);
  EXPECT_DOUBLE_EQ(black_box.train_one().loss, sampled_loss);
  EXPECT_EQ(whole.network.weights_digest(), exact.network.weights_digest());
  EXPECT_GT(relative_distance(backward.network, exact.network), 1e-4);
  EXPECT_GT(relative_distance(black_box.network, forward.network), 1e-4);
  for (const auto& [training, ran_exactly] : {std::pair(&backward, true), std::pair(&whole, true),
                                              std::pair(&forward, false), std::pair(&black_box, false)}) {
    EXPECT_EQ(training->state.ran_exactly(), ran_exactly);
  }
}

/// Factors of full rank (no layer has more than 64 rows) are the whole gradient, to rounding.
inline void expect_full_rank_to_be_dense(Communicator& communicator) {
  Training factors({.mode = Mode::dense, .powersgd_rank = 64, .least_compression = 0}, communicator);
  Training dense({.mode = Mode::dense}, communicator);
  for (int i = 0; i < 3; ++i) {
    (void)factors.train_one();
    (void)dense.train_one();
    EXPECT_LT(relative_distance(factors.network, dense.network), 1e-5) << "step " << i;
    factors.take_state_of(dense);
  }
}

inline void expect_the_same_bits_again(Communicator& communicator) {
  for (const Mode mode : kModes) {
    for (const std::int64_t powersgd_rank : {0, 2}) {
      const Variant variant{.mode = mode,
                            .ratio = 0.25,
                            .output_ratio = mode == Mode::feedback ? 0.5 : 1,
                            .wire = WireType::bf16,
                            .powersgd_rank = powersgd_rank};
      Training once(variant, communicator);
      Training again(variant, communicator);
      for (int i = 0; i < 4; ++i) {
        (void)once.train_one();
        (void)again.train_one();
      }
      EXPECT_EQ(once.network.weights_digest(), again.network.weights_digest()) << to_string(mode);
    }
  }
}

/// Everything is sent: the same bits as without a memory.
inline void expect_feedback_at_ratio_one_is_dense(Communicator& communicator) {
  Training feedback({.mode = Mode::feedback, .ratio = 1}, communicator);
  Training dense({.mode = Mode::dense}, communicator);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(feedback.train_one().wire_bytes, dense.train_one().wire_bytes);
    ASSERT_EQ(feedback.network.weights_digest(), dense.network.weights_digest()) << "step " << i;
  }
}

/// With weights that stand still, a dense training shows the gradients that a sliced one should have sent:
/// what it sent and what its ranks still owe, on average, add up to them.
inline void expect_sent_and_owed_to_be_all_gradients(Communicator& communicator, Variant variant, int steps) {
  variant.lr = 0;
  variant.ratio = 0.25;
  variant.output_ratio = 0.5;
  Training sliced(variant, communicator);
  const bool is_compact = variant.mode == Mode::compact;
  Training plain({.mode = is_compact ? Mode::compact : Mode::dense,
                  .sampler = is_compact ? variant.sampler : "auto",
                  .ratio = 0.25,
                  .lr = 0},
                 communicator);
  for (int i = 0; i < steps; ++i) {
    (void)sliced.train_one();
    if (variant.mode == Mode::feedback) {
      sliced.recorder.add_means(sliced.state.slices->parameters, sliced.state.slices->planner.current());
    } else {
      sliced.recorder.add_means(sliced.network.parameters(), sliced.planner.current());
    }
    (void)plain.train_one();
    plain.recorder.add_means(plain.network.parameters(), plain.planner.current());
  }
  for (std::size_t p = 0; p < sliced.network.parameters().size(); ++p) {
    at::Tensor total = sliced.recorder.sums()[p];
    if (const at::Tensor owed = sliced.state.memory->owed()[p]; owed.defined()) {
      const at::Tensor all = owed.to(at::kDouble).contiguous();
      communicator.allreduce_sum({all.mutable_data_ptr<double>(), static_cast<std::size_t>(all.numel())});
      total = total + all / communicator.world_size();
    }
    const at::Tensor expected = plain.recorder.sums()[p];
    // A 2-byte wire also rounds the partial sums of more than two ranks, which no rank can owe.
    const double tolerance = variant.wire == WireType::fp32 || communicator.world_size() == 1 ? 1e-5 : 5e-3;
    EXPECT_LE((total - expected).norm().item<double>(), tolerance * expected.norm().item<double>())
        << sliced.network.parameters()[p].shape.name;
  }
}

inline void expect_nothing_of_a_gradient_is_lost(Communicator& communicator) {
  expect_sent_and_owed_to_be_all_gradients(communicator, {.mode = Mode::feedback}, 100);
  expect_sent_and_owed_to_be_all_gradients(communicator, {.mode = Mode::feedback, .wire = WireType::bf16},
                                           10);
  for (const Mode mode : {Mode::compact, Mode::feedback, Mode::dense}) {
    // In mode compact, channels that come and go with what is owed of them.
    const std::string sampler = mode == Mode::compact ? "uniform" : "auto";
    expect_sent_and_owed_to_be_all_gradients(communicator,
                                             {.mode = mode, .sampler = sampler, .powersgd_rank = 2}, 10);
  }
}

/// Between a step that owes and a compact network one step is dense, and nothing is owed after it: with
/// factors it sends what it owes whole.
inline void expect_a_change_of_mode_to_pay(Communicator& communicator) {
  const std::vector<Variant> variants{{.mode = Mode::feedback, .ratio = 0.25},
                                      {.mode = Mode::feedback, .ratio = 0.25, .wire = WireType::bf16},
                                      {.mode = Mode::feedback, .ratio = 0.25, .powersgd_rank = 2},
                                      {.mode = Mode::dense, .wire = WireType::bf16, .powersgd_rank = 2}};
  for (const Variant& variant : variants) {
    Training training(variant, communicator);
    const auto is_in_debt = [&] {
      return std::ranges::any_of(training.state.memory->owed(), [](const auto& t) { return t.defined(); });
    };
    for (int i = 0; i < 3; ++i) {
      (void)training.train_one();
    }
    EXPECT_TRUE(is_in_debt());
    const StepPlans between = training.state.plans(3, Mode::compact, 0.5);
    EXPECT_TRUE(between.network.full());
    const std::int64_t numel = training.state.cost(16).dense_numel;
    EXPECT_EQ(training.train_one(between).wire_bytes,
              numel * static_cast<std::int64_t>(wire_size(variant.wire)));
    EXPECT_FALSE(is_in_debt());
    const StepPlans compact = training.state.plans(4, Mode::compact, 0.5);
    EXPECT_FALSE(compact.network.full());
    (void)training.train_one(compact);
    EXPECT_EQ(is_in_debt(), variant.powersgd_rank > 0)
        << "a compact step of slices owes nothing, whatever the wire rounds";
    EXPECT_FALSE(training.state.plans(5, Mode::compact, 0.5).pays);
  }
}

/// With weights that stand still: what went out until all was paid is all that was computed.
inline void expect_what_is_paid_to_be_all_that_was_owed(Communicator& communicator) {
  const std::vector<Variant> variants{{.mode = Mode::feedback, .ratio = 0.25, .lr = 0},
                                      {.mode = Mode::feedback, .ratio = 0.25, .powersgd_rank = 2, .lr = 0},
                                      {.mode = Mode::dense, .powersgd_rank = 2, .lr = 0}};
  for (const Variant& variant : variants) {
    Training owing(variant, communicator);
    Training plain({.mode = Mode::dense, .lr = 0}, communicator);
    constexpr int kSteps = 4;
    for (int i = 0; i <= kSteps; ++i) {
      const Mode mode = i < kSteps ? variant.mode : Mode::compact;
      const StepPlans plans = owing.state.plans(i, mode, mode == Mode::dense ? 1.0 : 0.25);
      (void)owing.train_one(plans);
      if (plans.slices != nullptr) {
        owing.recorder.add_means(owing.state.slices->parameters, *plans.slices);
      } else {
        owing.recorder.add_means(owing.network.parameters(), plans.network);
      }
      (void)plain.train_one();
      plain.recorder.add_means(plain.network.parameters(), plain.planner.current());
    }
    for (std::size_t p = 0; p < owing.network.parameters().size(); ++p) {
      const at::Tensor expected = plain.recorder.sums()[p];
      EXPECT_LE((owing.recorder.sums()[p] - expected).norm().item<double>(),
                1e-5 * expected.norm().item<double>())
          << owing.network.parameters()[p].shape.name;
    }
  }
}

inline void expect_wire_bytes_of_the_slices(Communicator& communicator) {
  const auto expect_bytes = [&](const Variant& variant, double at_most) {
    Training training(variant, communicator);
    const std::int64_t wire_bytes = training.train_one().wire_bytes;
    EXPECT_EQ(wire_bytes, 4 * training.state.cost(16).numel);
    EXPECT_LT(static_cast<double>(wire_bytes),
              4 * at_most * static_cast<double>(training.state.cost(16).dense_numel));
  };
  expect_bytes({.mode = Mode::feedback, .ratio = 0.25}, 0.6);
  expect_bytes({.mode = Mode::feedback, .ratio = 0.25, .output_ratio = 0.5}, 0.3);
  for (const Mode mode : {Mode::compact, Mode::feedback, Mode::dense}) {
    expect_bytes({.mode = mode, .ratio = 0.5, .powersgd_rank = 1}, 0.1);
  }
}

/// Ranks that came with different slices send those that they agree on, without computing again, and come to
/// the same weights as if they had agreed from the start.
inline void expect_a_dispute_about_slices_to_lose_nothing(Communicator& communicator, const Variant& variant,
                                                          double tolerance) {
  Training disputed(variant, communicator);
  Training agreed(variant, communicator);
  for (Training* training : {&disputed, &agreed}) {
    (void)training->train_one();
  }
  const StepPlans plans = agreed.state.plans(1, Mode::feedback, 0.25);
  const bool is_odd = communicator.rank() == communicator.world_size() - 1 && communicator.world_size() > 1;
  const StepPlans others{.network = plans.network,
                         .slices = is_odd ? &disputed.state.slices->planner.current() : plans.slices};
  const std::vector<Microbatch> batch{agreed.batch_of(1, communicator.rank())};
  const auto first = disputed.step.run(others, batch, variant.lr);
  EXPECT_EQ(first.has_value(), communicator.world_size() == 1);
  if (!first) {
    const auto second = disputed.step.run(plans, batch, variant.lr);
    ASSERT_TRUE(second.has_value());
    EXPECT_GT(second->loss, 0);
  }
  (void)agreed.train_one(plans);
  EXPECT_LT(relative_distance(disputed.network, agreed.network), tolerance);
}

inline void expect_a_dispute_about_slices_to_lose_nothing(Communicator& communicator) {
  Variant variant{.mode = Mode::feedback, .sampler = "cyclic", .ratio = 0.25};
  expect_a_dispute_about_slices_to_lose_nothing(communicator, variant, 1e-7);
  variant.powersgd_rank = 2;
  expect_a_dispute_about_slices_to_lose_nothing(communicator, variant, 1e-6);
}

/// Two microbatches of a rank are what one each of two ranks are.
inline void accumulate_and_compare(Communicator& communicator, const Variant& variant, double tolerance) {
  Training training(variant, communicator);
  InProcessGroup alone(1);
  Training accumulating(variant, alone.rank(0));
  for (std::int64_t i = 0; i < 3; ++i) {
    const auto plans_of = [&](Training& of) {
      return of.state.plans(i, variant.mode, variant.mode == Mode::dense ? 1.0 : variant.ratio);
    };
    (void)training.train_one(plans_of(training));
    std::vector<Microbatch> batches;
    for (int rank = 0; rank < communicator.world_size(); ++rank) {
      batches.push_back(training.batch_of(i, rank));
      batches.back().weight = 1.0 / communicator.world_size();
    }
    ASSERT_TRUE(accumulating.step.run(plans_of(accumulating), batches, variant.lr).has_value());
    EXPECT_LT(relative_distance(accumulating.network, training.network), tolerance)
        << to_string(variant.mode) << ", step " << i;
    accumulating.take_state_of(training);
  }
}

inline void expect_accumulation_to_be_a_larger_world(Communicator& communicator) {
  for (const Mode mode : {Mode::compact, Mode::feedback, Mode::dense}) {
    accumulate_and_compare(communicator, {.mode = mode}, 1e-6);
    // Making factors orthonormal makes more of a rounding error.
    accumulate_and_compare(communicator, {.mode = mode, .powersgd_rank = 2}, 1e-4);
  }
  // Each microbatch draws its own terms, and drops its own features.
  accumulate_and_compare(communicator, {.mode = Mode::approximate, .sampler = "bernoulli"}, 1e-6);
  accumulate_and_compare(communicator, {.arch = "wrn-10-1", .dropout = 0.5}, 1e-6);
}

/// A rank that was told to stop tells the others with its step.
inline void expect_wish_to_stop_reaches_all(Communicator& communicator) {
  Training training({}, communicator);
  const Plan plan = training.planner.plan(0, 0.5, training.sgd.norms());
  const Microbatch batch{.images = random_images(2, 16), .labels = at::zeros({2}, at::kLong)};
  for (const bool wish : {false, true}) {
    const bool mine = wish && communicator.rank() == communicator.world_size() - 1;
    const auto result = training.step.run({.network = plan}, std::span(&batch, 1), 0.05, mine);
    EXPECT_EQ(result.value().stop_requested, wish);
  }
}

/// A rank that comes with another plan is found before anything is reduced, and no weight changes.
inline void expect_disagreement_is_found(Communicator& communicator, const Variant& variant) {
  Training training(variant, communicator);
  const std::uint64_t before = training.network.weights_digest();
  const auto own_step =
      static_cast<std::uint64_t>(communicator.rank() == communicator.world_size() - 1 ? 1 : 0);
  const Plan plan = training.planner.plan(own_step, 0.5, training.sgd.norms());
  const Microbatch batch{.images = random_images(2, 16), .labels = at::zeros({2}, at::kLong)};
  const auto result = training.step.run({.network = plan}, std::span(&batch, 1), 0.05);
  EXPECT_EQ(result.has_value(), communicator.world_size() == 1);
  if (communicator.world_size() > 1) {
    EXPECT_EQ(training.network.weights_digest(), before);
  }
  const Plan agreed = training.planner.plan(2, 0.5, training.sgd.norms());
  EXPECT_TRUE(training.step.run({.network = agreed}, std::span(&batch, 1), 0.05).has_value());
}

inline void expect_disagreement_is_found(Communicator& communicator) {
  expect_disagreement_is_found(communicator, {.sampler = "uniform"});
  expect_disagreement_is_found(communicator, {.sampler = "uniform", .powersgd_rank = 2});
}

/// Of one rank's loss all ranks learn in the same step, and none of them changes a weight.
inline void expect_nonfinite_loss_changes_no_weight(Communicator& communicator) {
  for (const Variant& variant : {Variant{}, Variant{.wire = WireType::fp16}, Variant{.mode = Mode::feedback},
                                 Variant{.mode = Mode::dense, .powersgd_rank = 2}}) {
    Training training(variant, communicator);
    EXPECT_TRUE(training.train_one().finite);
    const std::uint64_t before = training.network.weights_digest();
    const StepPlans plans =
        training.state.plans(1, variant.mode, variant.mode == Mode::dense ? 1.0 : variant.ratio);
    Microbatch own = training.batch_of(1, communicator.rank());
    if (communicator.rank() == communicator.world_size() - 1) {
      own.images.index_put_({0, 0, 0, 0}, std::numeric_limits<float>::infinity());
    }
    EXPECT_FALSE(training.train_one(plans, own).finite);
    EXPECT_EQ(training.network.weights_digest(), before);
  }
}

/// A gradient overflows on the wire though the loss is finite: features of millions have gradients of the
/// classifier's weights as large, and of its bias of less than 1.
inline void expect_overflow_on_the_wire_is_seen_where_it_is_looked_for(Communicator& communicator) {
  for (const bool looks : {true, false}) {
    Training training({.mode = Mode::dense, .wire = WireType::fp16, .looks_before_updates = looks},
                      communicator);
    for (const SlicedParameter& parameter : training.network.parameters()) {
      if (parameter.value.dim() == 1 && parameter.shape.name.ends_with(".weight")) {
        parameter.value.mul_(1e6);
      }
    }
    const std::uint64_t before = training.network.weights_digest();
    const StepResult result = training.train_one();
    EXPECT_TRUE(std::isfinite(result.loss));
    EXPECT_EQ(result.finite, !looks);
    EXPECT_EQ(training.network.weights_digest() == before, looks);
    EXPECT_EQ(training.network.is_finite(), looks);
  }
}

}  // namespace slicereduce::testing

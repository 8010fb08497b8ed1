#include "launcher/auto_mode.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <mutex>

#include "launcher/link_probe.hpp"
#include "tests/support/in_process_ranks.hpp"

namespace slicereduce {
namespace {

TrainOptions auto_options(double auto_ratio = 1) {
  TrainOptions options;
  options.network.arch = "resnet20";
  options.network.mode = "auto";
  options.auto_ratio = auto_ratio;
  return options;
}

std::vector<std::string> descriptions(const TrainOptions& options) {
  std::vector<std::string> all;
  for (const Candidate& candidate : auto_candidates(options)) {
    const std::string text = candidate.describe();
    all.push_back(text.substr(0, text.find(", buckets")));
  }
  return all;
}

using Names = std::vector<std::string>;

TEST(AutoCandidates, KeepTheWholeNetworkUnlessToldOtherwise) {
  EXPECT_EQ(descriptions(auto_options()),
            (Names{"dense, bf16", "dense, factors of rank 16, bf16", "feedback 0.25, bf16",
                   "feedback 0.25, factors of rank 16, bf16"}));
}

TEST(AutoCandidates, KeepFewerChannelsWhereThatIsAllowed) {
  TrainOptions options = auto_options(0.5);
  options.network.size.ratio = 1;
  options.network.wire = "fp16";
  options.step.powersgd_rank = 2;
  EXPECT_EQ(descriptions(options), (Names{"dense, fp16", "dense, factors of rank 2, fp16",
                                          "compact 0.75, fp16", "compact 0.75, factors of rank 2, fp16",
                                          "compact 0.5, fp16", "compact 0.5, factors of rank 2, fp16"}));
}

TEST(AutoCandidates, LeaveOutAModeThatTheSamplerIsNotFor) {
  TrainOptions options = auto_options();
  options.network.sampler = "topk";
  EXPECT_EQ(descriptions(options), (Names{"dense, bf16", "dense, factors of rank 16, bf16"}));
}

TEST(AutoCandidates, AreOptionsThatAreValid) {
  TrainOptions options = auto_options(0.25);
  options.network.slice_output_ratio = 0.5;
  options.network.sampler = "cyclic";  // which mode dense has no use for
  options.network.resample_every = 100'000;
  options.step.powersgd_rank = 2;
  EXPECT_NO_THROW(options.validate());
  for (const Candidate& candidate : auto_candidates(options)) {
    const ChosenOptions chosen = candidate.chosen();
    TrainOptions resolved = options;
    resolved.network.mode = chosen.at("--mode");
    resolved.network.size.ratio = std::stod(chosen.at("--sample-ratio"));
    resolved.network.sampler = chosen.at("--sampler");
    resolved.network.resample_every = std::stol(chosen.at("--resample-every"));
    resolved.network.slice_output_ratio = std::stod(chosen.at("--slice-output-ratio"));
    resolved.network.wire = chosen.at("--wire");
    resolved.step.reduce = chosen.at("--reduce");
    resolved.step.powersgd_rank = std::stol(chosen.at("--powersgd-rank"));
    resolved.step.bucket_mb = std::stod(chosen.at("--bucket-mb"));
    resolved.auto_ratio = std::stod(chosen.at("--auto-ratio"));
    EXPECT_NO_THROW(resolved.validate()) << candidate.describe();
  }
}

TEST(AutoCandidates, AreWrittenAsTheNumbersThatTheyAre) {
  TrainOptions options = auto_options(1.0 / 3);
  options.network.size.ratio = 1.0 / 3;
  for (const Candidate& candidate : auto_candidates(options)) {
    EXPECT_EQ(std::stod(candidate.chosen().at("--sample-ratio")), candidate.network.size.ratio);
  }
}

Candidate best_of_dense(const TrainOptions& options, const Link& link) {
  const InputShape input{.channels = 3, .size = 32, .classes = 10};
  const StepCompute compute{.before_s = 0.01, .backward_s = 0.02, .after_s = 0.005};
  return with_best_bucket(auto_candidates(options).front(), input, compute, link, 4);
}

TEST(WithBestBucket, TakesFewBucketsWhereMessagesAreDear) {
  const Link dear{.bytes_per_s = 1e9, .latency_s = 1e-2};
  const Link cheap{.bytes_per_s = 2e7, .latency_s = 0};
  EXPECT_GT(best_of_dense(auto_options(), dear).step.bucket_mb,
            best_of_dense(auto_options(), cheap).step.bucket_mb);
}

TEST(WithBestBucket, PredictsTheStep) {
  // 0.27 M numbers of ResNet-20 in bf16, twice three quarters of them on the wire, in one bucket at the end.
  const Candidate slow = best_of_dense(auto_options(), {.bytes_per_s = 1e6, .latency_s = 0});
  EXPECT_NEAR(slow.predicted_ms, 35 + 1.5 * 540, 60);
}

TEST(MostExactOfFastest, PrefersTheFirstOfEquals) {
  std::vector<Candidate> candidates(4);
  candidates[0].measured_ms = 110;
  candidates[1].measured_ms = 102;
  candidates[3].measured_ms = 100;
  EXPECT_EQ(&most_exact_of_fastest(candidates), &candidates[1]);
  candidates[3].measured_ms = 98;
  EXPECT_EQ(&most_exact_of_fastest(candidates), &candidates[3]);
}

TEST(WithOtherSettings, AreTheWiresAndBucketsThatMayBeFaster) {
  Candidate candidate = auto_candidates(auto_options()).front();
  candidate.step.bucket_mb = 4;
  const auto texts = [&](const TrainOptions& options) {
    Names all;
    for (const Candidate& other : with_other_settings(candidate, options)) {
      all.push_back(other.describe());
    }
    return all;
  };
  EXPECT_EQ(texts(auto_options()),
            (Names{"dense, fp32, buckets of 0.25 MB", "dense, fp32, buckets of 4 MB",
                   "dense, bf16, buckets of 0.25 MB", "dense, bf16, buckets of 4 MB"}));
  TrainOptions options = auto_options();
  options.network.wire = "bf16";
  candidate.step.bucket_mb = 0.25;
  EXPECT_EQ(texts(options), Names{"dense, bf16, buckets of 0.25 MB"});
}

TEST(LinkOf, UndoesTheRing) {
  const Link link{.bytes_per_s = 3e7, .latency_s = 2e-4};
  for (const int ranks : {2, 5}) {
    const Link found =
        link_of(ring_allreduce_s(0, ranks, link), ring_allreduce_s(1e6, ranks, link), 1e6, ranks);
    EXPECT_NEAR(found.bytes_per_s, link.bytes_per_s, 1);
    EXPECT_NEAR(found.latency_s, link.latency_s, 1e-9);
  }
  EXPECT_LT(link_of(1e-3, 0.9e-3, 1e6, 2).bytes_per_s, std::numeric_limits<double>::infinity());
}

TEST(MeasureLink, IsTheSameOnAllRanks) {
  std::mutex mutex;
  std::vector<Link> links;
  testing::run_ranks(3, [&](Communicator& communicator) {
    const Link link = measure_link(communicator, std::chrono::seconds(60));
    const std::lock_guard lock(mutex);
    links.push_back(link);
  });
  ASSERT_EQ(links.size(), 3U);
  for (const Link& link : links) {
    EXPECT_GT(link.bytes_per_s, 0);
    EXPECT_EQ(link.bytes_per_s, links[0].bytes_per_s);
    EXPECT_EQ(link.latency_s, links[0].latency_s);
  }
}

TEST(ChooseMode, OfOneRankSpeaksOfNoLink) {
  TrainOptions options = auto_options();
  options.step.batch_size = 2;
  testing::run_ranks(1, [&](Communicator& communicator) {
    const ModeChoice choice =
        choose_mode(options, {.channels = 1, .size = 8, .classes = 3}, at::kCPU, communicator, Log::silent());
    EXPECT_EQ(choice.reasons.size(), 1 + auto_candidates(options).size());
    EXPECT_EQ(choice.reasons.front().find("auto: dense"), 0U) << choice.reasons.front();
    EXPECT_EQ(choice.options.at("--wire"), "fp32");
  });
}

TEST(ChooseMode, IsTheSameOnAllRanksAndGivesItsReasons) {
  TrainOptions options = auto_options(0.5);
  options.step.batch_size = 2;
  const InputShape input{.channels = 1, .size = 8, .classes = 3};
  std::mutex mutex;
  std::vector<ModeChoice> choices;
  testing::run_ranks(2, [&](Communicator& communicator) {
    const ModeChoice choice = choose_mode(options, input, at::kCPU, communicator, Log::silent());
    const std::lock_guard lock(mutex);
    choices.push_back(choice);
  });
  ASSERT_EQ(choices.size(), 2U);
  EXPECT_EQ(choices[0].options, choices[1].options);
  EXPECT_EQ(choices[0].reasons, choices[1].reasons);
  EXPECT_GE(choices[0].reasons.size(), 2 + auto_candidates(options).size() + 2);
  EXPECT_EQ(choices[0].reasons.back().find("auto: chose " + choices[0].options.at("--mode")), 0U);
}

}  // namespace
}  // namespace slicereduce

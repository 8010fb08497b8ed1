#include "launcher/train_options.hpp"

#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <functional>

#include "core/error.hpp"
#include "launcher/command_line.hpp"
#include "launcher/resolved_options.hpp"
#include "tests/support/temporary_folder.hpp"

namespace slicereduce {
namespace {

void expect_refused(const std::function<void(TrainOptions&)>& spoil, const std::string& option) {
  TrainOptions options;
  spoil(options);
  try {
    options.validate();
    ADD_FAILURE() << "accepted a bad " << option;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_NE(std::string(error.what()).find(option), std::string::npos) << error.what();
  }
}

TEST(TrainOptions, DefaultsAreValid) { EXPECT_NO_THROW(TrainOptions().validate()); }

TEST(TrainOptions, NameTheOptionThatIsWrong) {
  for (const double ratio : {-0.5, 1.5, std::nan("")}) {
    expect_refused(
        [&](auto& o) {
          o.network.mode = "compact";
          o.network.size.ratio = ratio;
        },
        "--sample-ratio");
  }
  expect_refused(
      [](auto& o) {
        o.network.mode = "compact";
        o.network.sampler = "best";
      },
      "--sampler");
  expect_refused([](auto& o) { o.network.arch = "vgg"; }, "--arch");
  expect_refused([](auto& o) { o.network.mode = "sparse"; }, "--mode");
  expect_refused([](auto& o) { o.network.coupling = "all"; }, "--coupling");
  expect_refused([](auto& o) { o.network.wire = "int8"; }, "--wire");
  expect_refused([](auto& o) { o.step.batch_size = 0; }, "--batch-size");
  expect_refused([](auto& o) { o.step.lr = std::nan(""); }, "--lr");
  expect_refused([](auto& o) { o.step.sgd.momentum = 1; }, "--momentum");
  expect_refused([](auto& o) { o.step.label_smoothing = 1; }, "--label-smoothing");
  expect_refused([](auto& o) { o.step.precision = "fp8"; }, "--precision");
  expect_refused([](auto& o) { o.step.device = "tpu"; }, "--device");
  expect_refused([](auto& o) { o.step.reduce = "sparse"; }, "--reduce");
  expect_refused([](auto& o) { o.step.bucket_mb = 0; }, "--bucket-mb");
  expect_refused([](auto& o) { o.step.overlap = "yes"; }, "--overlap");
  expect_refused([](auto& o) { o.step.timeout_s = 0; }, "--timeout");
  expect_refused([](auto& o) { o.step.timeout_s = 1e10; }, "--timeout");
  expect_refused([](auto& o) { o.step.bucket_mb = 1e-7; }, "--bucket-mb");
  expect_refused([](auto& o) { o.step.threads = 1'000'000; }, "--threads");
  expect_refused([](auto& o) { o.step.batch_size = 1LL << 40; }, "--batch-size");
  expect_refused([](auto& o) { o.dataset = "svhn"; }, "--dataset");
  expect_refused([](auto& o) { o.decode = "half"; }, "--decode");
  expect_refused([](auto& o) { o.bad_images = "hide"; }, "--bad-images");
  expect_refused([](auto& o) { o.workers = -1; }, "--workers");
  expect_refused([](auto& o) { o.epochs = 0; }, "--epochs");
  expect_refused([](auto& o) { o.epochs = 1LL << 60; }, "--epochs");
  expect_refused([](auto& o) { o.schedule = "linear"; }, "--schedule");
  expect_refused([](auto& o) { o.lr_milestones = "30"; }, "--schedule");
  expect_refused([](auto& o) { o.lr_gamma = 0.5; }, "--schedule");
  for (const char* milestones : {"30,20", "0", "30,x", "30;60", "30,45.5"}) {
    expect_refused(
        [&](auto& o) {
          o.schedule = "step";
          o.lr_milestones = milestones;
        },
        "--lr-milestones");
  }
  expect_refused([](auto& o) { o.size_schedule = "0:small"; }, "--size-schedule");
  expect_refused(
      [](auto& o) {
        o.network.arch = "mlp-3x500";
        o.size_schedule = "0:32";
      },
      "28x28");
  expect_refused([](auto& o) { o.keep = 0; }, "--keep");
  expect_refused([](auto& o) { o.checkpoint_failures = 0; }, "--checkpoint-failures");
  expect_refused([](auto& o) { o.log_every = 0; }, "--log-every");
  expect_refused([](auto& o) { o.eval_network = "all"; }, "--eval-network");
  expect_refused([](auto& o) { o.progress = "dots"; }, "--progress");
  expect_refused([](auto& o) { o.on_disagreement = "vote"; }, "--on-disagreement");
}

TEST(TrainOptions, RefuseWhatModeAutoCannotUse) {
  const auto with_auto = [](const std::function<void(TrainOptions&)>& spoil) {
    return [spoil](TrainOptions& o) {
      o.network.mode = "auto";
      spoil(o);
    };
  };
  TrainOptions options;
  with_auto([](auto& o) { o.auto_ratio = 0.5; })(options);
  EXPECT_NO_THROW(options.validate());
  expect_refused([](auto& o) { o.auto_ratio = 0.5; }, "--auto-ratio");
  expect_refused(with_auto([](auto& o) { o.auto_ratio = 0; }), "--auto-ratio");
  expect_refused(with_auto([](auto& o) { o.mode_schedule = "0:dense"; }), "--mode-schedule");
  expect_refused(with_auto([](auto& o) { o.ratio_schedule = "0:0.5"; }), "--ratio-schedule");
  expect_refused(with_auto([](auto& o) { o.step.powersgd_rank = 0; }), "--powersgd-rank");
  expect_refused(with_auto([](auto& o) { o.network.slice_output_ratio = 0.4; }), "--slice-output-ratio");
  expect_refused(with_auto([](auto& o) { o.step.lr = 0; }), "--lr");
  expect_refused(with_auto([](auto& o) { o.network.join = "zero"; }), "--join");
  expect_refused(with_auto([](auto& o) { o.network.coupling = "all"; }), "--coupling");
}

TEST(TrainOptions, RefuseWhatFeedbackCannotDo) {
  const auto feedback = [](const std::function<void(TrainOptions&)>& spoil) {
    return [spoil](TrainOptions& o) {
      o.network.mode = "feedback";
      spoil(o);
    };
  };
  EXPECT_NO_THROW([&] {
    TrainOptions options;
    feedback([](auto& o) { o.network.slice_output_ratio = 0.33; })(options);
    options.validate();
    EXPECT_EQ(options.network.row_groups(), 3);
    EXPECT_EQ(options.network.sampling(Mode::feedback).sampler, "aged");
    EXPECT_EQ(options.network.sampling(Mode::compact).sampler, "topk");
  }());
  expect_refused(feedback([](auto& o) { o.network.sampler = "topk"; }), "--sampler");
  expect_refused(feedback([](auto& o) { o.step.reduce = "dense"; }), "--reduce");
  for (const double ratio : {0.0, -1.0, 3.0, 0.4, std::nan("")}) {
    expect_refused(feedback([ratio](auto& o) { o.network.slice_output_ratio = ratio; }),
                   "--slice-output-ratio");
  }
  expect_refused([](auto& o) { o.network.slice_output_ratio = 0.5; }, "--slice-output-ratio");
  EXPECT_NO_THROW([] {
    TrainOptions options;
    options.network.mode = "feedback";
    options.network.sampler = "topk";
    options.mode_schedule = "0:compact";  // which is in the place of --mode
    options.validate();
  }());
  for (const double ratio : {0.0, 0.7, 1.5, std::nan(""), 1e-320, 1e-9}) {
    expect_refused([&](auto& o) { o.network.slice_output_ratio = ratio; }, "--slice-output-ratio");
  }
  expect_refused(
      [](auto& o) {
        o.mode_schedule = "0:compact,5:feedback";
        o.network.sampler = "gumbel";
      },
      "--sampler");
  expect_refused([](auto& o) { o.mode_schedule = "0:sparse"; }, "--mode-schedule");
  expect_refused([](auto& o) { o.network.join = "slowly"; }, "--join");
  expect_refused(
      [](auto& o) {
        o.network.mode = "compact";
        o.network.join = "zero";
        o.network.sampler = "gumbel";
      },
      "settles");
  expect_refused(
      [](auto& o) {
        o.network.join = "zero";
        o.network.mode = "dense";
      },
      "--mode compact");
  expect_refused([](auto& o) { o.network.anneal_steps = 5; }, "anneal");  // without that sampler
  expect_refused(
      [](auto& o) {
        o.network.sampler = "anneal";
        o.network.anneal_steps = 0;
      },
      "--anneal-steps");
  expect_refused([](auto& o) { o.step.accumulate = 0; }, "--accumulate");
  expect_refused([](auto& o) { o.step.powersgd_rank = 0; }, "--powersgd-rank");
  expect_refused(
      [](auto& o) {
        o.step.reduce = "slices";
        o.step.powersgd_rank = 2;
      },
      "--powersgd-rank");
}

TEST(TrainOptions, RefuseToSampleWhereNothingIsLeftOut) {
  const auto spoils = std::vector<std::pair<std::string, std::function<void(TrainOptions&)>>>{
      {"--sample-ratio", [](auto& o) { o.network.size.ratio = 0.5; }},
      {"--ratio-schedule", [](auto& o) { o.ratio_schedule = "0:0.5,3:1"; }},
      {"--sampler", [](auto& o) { o.network.sampler = "gumbel"; }},
      {"--minimal-k", [](auto& o) { o.network.size.minimal_k = 1; }},
      {"--channel-multiple", [](auto& o) { o.network.size.channel_multiple = 1; }},
      {"--channel-block", [](auto& o) { o.network.size.channel_block = 4; }},
      {"--resample-every", [](auto& o) { o.network.resample_every = 2; }},
      {"--coupling", [](auto& o) { o.network.coupling = "none"; }}};
  for (const auto& [option, spoil] : spoils) {
    expect_refused(spoil, option);
    TrainOptions options;
    options.mode_schedule = "0:dense,3:compact";
    spoil(options);
    EXPECT_NO_THROW(options.validate()) << option;
  }
}

TEST(TrainOptions, FactorsAreForThoseWhoSend) {
  TrainOptions options;
  options.step.settle_reduction(1);
  EXPECT_EQ(options.step.reduce, "slices");
  options.step.settle_reduction(2);  // which is settled
  EXPECT_EQ(options.step.reduce, "slices");
  options = {};
  options.step.powersgd_rank = 2;
  EXPECT_NO_THROW(options.validate());
  options.step.settle_reduction(2);
  EXPECT_EQ(options.step.reduce, "powersgd");
}

TEST(NetworkOptions, EachModeHasARatioOfItsOwn) {
  NetworkOptions options;
  EXPECT_EQ(options.ratio(Mode::dense), 1);
  EXPECT_EQ(options.ratio(Mode::compact), 0.5);
  EXPECT_EQ(options.ratio(Mode::feedback), 0.25);
  options.size.ratio = 0.125;
  EXPECT_EQ(options.ratio(Mode::dense), 1);
  EXPECT_EQ(options.ratio(Mode::feedback), 0.125);
  EXPECT_EQ(options.sampling(Mode::compact).size.ratio, 0.125);
}

TEST(TrainOptions, RefuseWhatApproximationCannotDo) {
  const auto approximate = [](const std::function<void(TrainOptions&)>& spoil) {
    return [spoil](TrainOptions& o) {
      o.network.mode = "approximate";
      spoil(o);
    };
  };
  expect_refused(approximate([](auto& o) { o.network.approximate = "both"; }), "--approximate");
  expect_refused(approximate([](auto& o) { o.network.term_norms = "none"; }), "--term-norms");
  for (const char* sampler : {"aged", "cyclic", "anneal"}) {
    expect_refused(approximate([&](auto& o) { o.network.sampler = sampler; }), "depends on where in a run");
  }
  expect_refused(approximate([](auto& o) { o.network.input_gradient_ratio = 0.5; }),
                 "--approximate backward");
  for (const double ratio : {-0.5, 1.5, std::nan("")}) {
    expect_refused(approximate([&](auto& o) {
                     o.network.approximate = "backward";
                     o.network.weight_gradient_ratio = ratio;
                   }),
                   "--weight-gradient-ratio");
  }
  expect_refused(approximate([](auto& o) {
                   o.network.approximate = "backward";
                   o.network.term_norms = "weights";
                 }),
                 "--term-norms");
  EXPECT_NO_THROW([&] {
    TrainOptions options;
    approximate([](auto& o) {
      o.network.approximate = "backward";
      o.network.term_norms = "weights";
      o.network.weight_gradient_ratio = 1;
    })(options);
    options.validate();
  }());
  expect_refused(approximate([](auto& o) { o.network.resample_every = 5; }), "--resample-every");
  expect_refused(approximate([](auto& o) { o.network.size.channel_block = 4; }), "--channel-block");
  expect_refused(approximate([](auto& o) {
                   o.network.size.ratio = 1;
                   o.network.sampler = "aged";
                   o.ratio_schedule = "0:0.5";
                 }),
                 "depends on where in a run");
  // Which would do nothing.
  expect_refused([](auto& o) { o.network.approximate = "black_box"; }, "--mode approximate");
  expect_refused([](auto& o) { o.network.term_norms = "subset"; }, "--mode approximate");
  expect_refused([](auto& o) { o.network.weight_gradient_ratio = 0.5; }, "--mode approximate");
}

TEST(TrainOptions, RefuseApproximationOfSlicesByManyWorkers) {
  TrainOptions options;
  options.network.mode = "approximate";
  options.step.reduce = "slices";
  EXPECT_NO_THROW(options.require_world(1));
  EXPECT_THROW(options.require_world(2), Error);
  options.step.reduce = "dense";
  EXPECT_NO_THROW(options.require_world(2));
  options = {};
  options.step.reduce = "slices";
  options.mode_schedule = "0:compact,3:approximate";
  EXPECT_THROW(options.require_world(2), Error);
}

TEST(NetworkOptions, ProductsAreOfTheRatiosThatWereAsked) {
  NetworkOptions options{.mode = "approximate"};
  const ProductApproximation forward = options.products(0.25);
  EXPECT_EQ(forward.forward.value().size.ratio, 0.25);
  EXPECT_FALSE(forward.gradient_of_all || forward.input_gradient || forward.weight_gradient);
  options.approximate = "black_box";
  EXPECT_TRUE(options.products(0.25).gradient_of_all);
  options.approximate = "backward";
  options.weight_gradient_ratio = 0.5;
  const ProductApproximation backward = options.products(0.25);
  EXPECT_FALSE(backward.forward);
  EXPECT_EQ(backward.input_gradient.value().size.ratio, 0.25);
  EXPECT_EQ(backward.weight_gradient.value().size.ratio, 0.5);
}

/// The program's own arrangement: a subcommand whose file is given to the program.
TEST(ConfigText, IsReadBackByConfig) {
  const auto parse = [](const std::vector<std::string>& arguments, TrainOptions& options) {
    CLI::App program;
    program.set_config("--config");
    program.fallthrough();
    program.option_defaults()->always_capture_default()->multi_option_policy(
        CLI::MultiOptionPolicy::TakeLast);
    CLI::App* command = program.add_subcommand("train");
    add_train_options(*command, options);
    std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
    program.parse(reversed);
    return config_text(*command);
  };
  TrainOptions options;
  const std::string text =
      parse({"train", "--data", "/some where", "--lr", "0.3", "--nesterov", "-b", "17", "--wire", "bf16",
             "--seed", "18446744073709551615", "--ratio-schedule", "0:0.5,80:1.0"},
            options);
  const testing::TemporaryFolder folder;
  const std::string path = folder.path() / "config.toml";
  std::ofstream(path) << text;
  TrainOptions again;
  EXPECT_EQ(parse({"train", "--config", path}, again), text);
  EXPECT_EQ(again.data, "/some where");
  EXPECT_EQ(again.step.lr, 0.3);
  EXPECT_TRUE(again.step.sgd.nesterov);
  EXPECT_EQ(again.step.batch_size, 17);
  EXPECT_EQ(again.network.wire, "bf16");
  EXPECT_EQ(again.seed, std::uint64_t{18446744073709551615ULL});
  EXPECT_EQ(again.ratio_schedule, "0:0.5,80:1.0");
}

TEST(ResolvedOptions, ComeBackFromAConfig) {
  CLI::App app;
  app.option_defaults()->always_capture_default();
  CLI::App* command = app.add_subcommand("train");
  TrainOptions options;
  add_train_options(*command, options);
  set_options(*command, {{"--mode", "dense"}, {"--lr", "0.25"}, {"--data", "a folder"}});
  EXPECT_EQ(options.network.mode, "dense");
  EXPECT_EQ(options.step.lr, 0.25);
  const auto read = options_of_config(config_text(*command), "train");
  EXPECT_EQ(read.at("--mode"), "dense");
  EXPECT_EQ(read.at("--lr"), "0.25");
  EXPECT_EQ(read.at("--data"), "a folder");
  EXPECT_EQ(read.at("--wire"), "fp32");
  EXPECT_TRUE(options_of_config(config_text(*command), "bench").empty());
  EXPECT_TRUE(options_of_config("", "train").empty());
  std::string dots = "[train";
  for (int i = 0; i < 100'000; ++i) {
    dots += ".a";
  }
  EXPECT_TRUE(options_of_config(dots + "]\nlr = 1\n", "train").empty());
}

TEST(ResolvedOptions, RefuseWhatModeAutoChooses) {
  CLI::App app;
  TrainOptions options;
  add_train_options(app, options);
  app.parse("--data x --mode auto --wire bf16", /*program_name_included=*/false);
  EXPECT_NO_THROW(refuse_beside_auto(app));
  app.parse("--data x --mode auto --bucket-mb 2", false);
  EXPECT_THROW(refuse_beside_auto(app), Error);
  app.parse("--data x --mode dense --bucket-mb 2", false);
  EXPECT_NO_THROW(refuse_beside_auto(app));
}

}  // namespace
}  // namespace slicereduce

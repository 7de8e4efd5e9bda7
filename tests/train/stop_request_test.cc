#include "train/stop_request.h"

#include <csignal>

#include <gtest/gtest.h>

namespace packhorse {
namespace {

TEST(StopRequest, CatchesEachSignalAndRestoresTheHandlers) {
  for (const int signal : {SIGTERM, SIGUSR1, SIGINT}) {
    struct sigaction before = {}, after = {};
    sigaction(signal, nullptr, &before);
    {
      const StopRequest stop;
      EXPECT_FALSE(stop.requested());
      std::raise(signal);
      EXPECT_TRUE(stop.requested());
      if (signal != SIGINT) std::raise(signal);  // a second request is harmless
      EXPECT_TRUE(stop.requested());
    }
    sigaction(signal, nullptr, &after);
    EXPECT_EQ(before.sa_handler, after.sa_handler);
  }
}

TEST(StopRequestDeathTest, SecondSigintEndsTheProcess) {
  EXPECT_EXIT(
      {
        const StopRequest stop;
        std::raise(SIGINT);
        std::raise(SIGINT);
      },
      ::testing::ExitedWithCode(130), "");
}

}  // namespace
}  // namespace packhorse

#include "train/stop_request.h"

#include <gtest/gtest.h>

#include <csignal>

namespace packhorse {
namespace {

TEST(StopRequest, NotesEachSignalAndLetsGo) {
  for (const int signal : {SIGTERM, SIGUSR1, SIGINT}) {
    struct sigaction before {
    }, after{};
    sigaction(signal, nullptr, &before);
    {
      const StopRequest stop;
      EXPECT_FALSE(stop.requested());
      std::raise(signal);
      EXPECT_TRUE(stop.requested());
      if (signal != SIGINT) std::raise(signal);  // asking twice is no harm
      EXPECT_TRUE(stop.requested());
    }
    sigaction(signal, nullptr, &after);
    EXPECT_EQ(before.sa_handler, after.sa_handler);
  }
}

TEST(StopRequestDeathTest, SecondInterruptEndsAtOnce) {
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

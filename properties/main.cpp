// Says which seed and how many tries are in use before the properties run, so that a failure can be had again.
//
//   RC_PARAMS="seed=7"              the same random numbers again
//   RC_PARAMS="max_success=100000"  as many tries for every property
//   DMAUDIT_PROPERTIES_SCALE=10     ten times each property's own number (may be a fraction)
#include "properties/support.hpp"

#include <gtest/gtest.h>
#include <iostream>
#include <rapidcheck.h>
#include <rapidcheck/detail/Configuration.h>

int main(int argc, char** argv)
{
    testing::InitGoogleTest(&argc, argv);
    const rc::detail::TestParams& params = rc::detail::configuration().testParams;
    std::cout << "[ properties ] RC_PARAMS=\"seed=" << params.seed << "\", each property's own number of tries times "
              << dmaudit::properties::scale()
              << (dmaudit::properties::tries_given() ? ", overruled by max_success" : "") << std::endl;
    return RUN_ALL_TESTS();
}

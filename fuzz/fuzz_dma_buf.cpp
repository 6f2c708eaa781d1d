// dma-bufs of blocks, of opaque memory and of pages, with several importers; clients make no mistakes.
#include "fuzz/engine.hpp"

const dmaudit::fuzz::Target& dmaudit::fuzz::target = dmaudit::fuzz::dma_buf;

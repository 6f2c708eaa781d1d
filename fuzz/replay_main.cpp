// A main for targets without a fuzzing engine: runs the files (and the files in the folders) that are named, and an
// empty input.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int main(int argc, char** argv)
{
    namespace fs = std::filesystem;
    std::vector<std::string> files;
    for (int i = 1; i < argc; i++) {
        const std::string path = argv[i];
        std::error_code ec;
        if (path.starts_with("-")) // an engine's option
            continue;
        if (fs::is_directory(path, ec)) {
            for (const auto& entry : fs::recursive_directory_iterator(path, ec))
                if (entry.is_regular_file(ec))
                    files.push_back(entry.path().string());
        } else
            files.push_back(path);
        if (ec) {
            std::fprintf(stderr, "%s: %s\n", path.c_str(), ec.message().c_str());
            return 2;
        }
    }
    std::sort(files.begin(), files.end());
    const uint8_t none = 0;
    LLVMFuzzerTestOneInput(&none, 0);
    for (const std::string& file : files) {
        std::ifstream in(file, std::ios::binary);
        const std::vector<char> bytes(std::istreambuf_iterator<char>(in), {});
        if (!in.is_open() || in.bad()) {
            std::fprintf(stderr, "%s: cannot be read\n", file.c_str());
            return 2;
        }
        std::fprintf(stderr, "%s\n", file.c_str()); // the last line before an abort says which
        LLVMFuzzerTestOneInput(bytes.empty() ? &none : reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
    }
    std::printf("%zu files and an empty input\n", files.size());
    return 0;
}

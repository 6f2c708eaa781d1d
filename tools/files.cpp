#include "tools/files.hpp"

#include "harness/binary.hpp"
#include "harness/text.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fmt/core.h>
#include <unistd.h>

namespace dmaudit {
namespace fs = std::filesystem;
namespace {

// Text cases are printable; a binary case has a byte in its first 16 that text never has, or is judged by its name.
bool looks_like_text(const std::string& path, const std::string& bytes)
{
    if (path.ends_with(".dma"))
        return true;
    if (path.ends_with(".bin"))
        return false;
    return bytes.starts_with("# dmaudit");
}

} // namespace

Loaded load_case(const std::string& path)
{
    Loaded out;
    std::FILE* f = std::fopen(path.c_str(), "rb");
    if (!f) {
        out.error = fmt::format("{}: cannot be read: {}", path, std::strerror(errno));
        return out;
    }
    std::string bytes(max_text + 1, '\0');
    bytes.resize(std::fread(bytes.data(), 1, bytes.size(), f));
    const bool failed = std::ferror(f) != 0;
    std::fclose(f);
    if (failed) {
        out.error = fmt::format("{}: cannot be read: {}", path, std::strerror(errno));
        return out;
    }
    if (bytes.size() > max_text) {
        out.error = fmt::format("{}: a case file has at most {} bytes", path, max_text);
        return out;
    }
    out.was_text = looks_like_text(path, bytes);
    if (!out.was_text) {
        decode({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, out.value);
        out.ok = true;
        return out;
    }
    constexpr std::string_view comment = "\n# provider: ";
    if (const size_t at = bytes.find(comment); at != std::string::npos)
        out.provider = bytes.substr(at + comment.size(), bytes.find('\n', at + 1) - at - comment.size());
    Parsed parsed = parse(bytes);
    out.ok = parsed.ok;
    out.value = parsed.value;
    if (!parsed.ok)
        out.error = fmt::format("{}:{}: {}", path, parsed.error.line, parsed.error.message);
    return out;
}

bool list_files(const std::vector<std::string>& paths, std::vector<std::string>& files, std::string& error)
{
    for (const std::string& p : paths) {
        std::error_code ec;
        const auto status = fs::status(p, ec);
        if (!fs::exists(status)) {
            error = fmt::format("{}: no such file or folder", p);
            return false;
        }
        if (!fs::is_directory(status)) {
            files.push_back(p);
            continue;
        }
        std::vector<std::string> below;
        for (auto it = fs::recursive_directory_iterator(p, ec); !ec && it != fs::recursive_directory_iterator();
             it.increment(ec))
            if (it->is_regular_file() && it->path().filename().string().front() != '.' &&
                it->path().extension() != ".md")
                below.push_back(it->path().string());
        if (ec) {
            error = fmt::format("{}: cannot be listed: {}", p, ec.message());
            return false;
        }
        std::sort(below.begin(), below.end());
        files.insert(files.end(), below.begin(), below.end());
    }
    return true;
}

std::string write_file(const std::string& path, std::string_view content)
{
    const std::string temporary = fmt::format("{}.{}.tmp", path, getpid());
    std::FILE* f = std::fopen(temporary.c_str(), "wb");
    if (!f)
        return fmt::format("{}: cannot be written: {}", path, std::strerror(errno));
    const bool ok = std::fwrite(content.data(), 1, content.size(), f) == content.size() && std::fflush(f) == 0;
    const int why = errno;
    if (std::fclose(f) != 0 || !ok || std::rename(temporary.c_str(), path.c_str()) != 0) {
        const std::string error = fmt::format("{}: cannot be written: {}", path, std::strerror(ok ? errno : why));
        std::remove(temporary.c_str());
        return error;
    }
    return {};
}

std::string content_name(std::string_view content)
{
    uint64_t h = 0xcbf29ce484222325;
    for (const char c : content)
        h = (h ^ static_cast<uint8_t>(c)) * 0x100000001b3;
    return fmt::format("{:016x}", h);
}

} // namespace dmaudit

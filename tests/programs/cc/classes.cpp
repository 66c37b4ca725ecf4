#include <algorithm>
#include <chrono>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <regex>
#include <stdexcept>
#include <string>
#include <vector>

struct Animal {
    virtual ~Animal() = default;
    virtual std::string name() const = 0;
};
struct Dove : Animal {
    std::string name() const override { return "dove"; }
};

int main() {
    std::unique_ptr<Animal> animal = std::make_unique<Dove>();
    std::map<std::string, int> counts;
    for (const auto *word : {"two", "one", "two"}) counts[word]++;
    for (auto &[word, count] : counts) std::cout << word << ' ' << count << '\n';
    std::vector<int> v(1000);
    for (int i = 0; i < 1000; i++) v[i] = i * 7919 % 1009;
    std::sort(v.begin(), v.end());
    try {
        v.at(5000) = 1;
    } catch (const std::out_of_range &) {
        std::cout << "caught\n";
    }
    std::ofstream("written") << "by " << animal->name() << std::endl;
    std::string line;
    std::ifstream file("written");
    std::getline(file, line);
    std::cout << line << ' ' << v[500] << ' ' << std::regex_match("a42", std::regex("[a-z]\\d+")) << std::endl;
    throw std::runtime_error("uncaught");
}

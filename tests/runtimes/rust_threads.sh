# needs: rustc
# timeout: 180
# volatile: threads
rustc -O -o threads threads.rs && ./threads one "two words"
echo "status $?"

# timeout: 120
# host: linux
javac Watch.java && java Watch
echo "status $?"

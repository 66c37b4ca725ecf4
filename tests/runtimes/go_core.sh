# timeout: 180
export GOCACHE=/tmp/noah-go-cache-$$ GO111MODULE=off
go build -o core core.go && ./core
echo "status $?"
rm -rf "$GOCACHE"

# timeout: 240
javac JavaCore.java && java -Xmx256m JavaCore
echo "status $?"

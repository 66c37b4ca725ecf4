# A pipeline of fifty processes.
# slow
p=cat; for i in $(seq 49); do p="$p | cat"; done
seq 1000 | eval "$p" | md5sum

"""Images as the Open Container Initiative and docker(1) write them.

reference   what images are called by
manifest    what they consist of
source      where they come from; layout: directories and archives, registry: servers, auth: their passwords
pull        from a source to the store
"""

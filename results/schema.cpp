namespace mla {}

{{ perennial.retention_of_kind('exact', {'starts': 'string'}) }}

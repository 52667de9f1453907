{#-
The rules of the seed `customer_tag_rules`, as a list of [tag, condition]. Empty while dbt parses and
where the seed has not been loaded.
-#}
{% macro tag_rules() %}
    {% set seed = ref('perennial', 'customer_tag_rules') %}
    {% set found = adapter.get_relation(seed.database, seed.schema, seed.identifier) if execute %}
    {% if not found %}
        {% do return([]) %}
    {% endif %}
    {% set rules = run_query('select tag, condition from ' ~ found ~ ' order by tag').rows %}
    {% do return(rules | map('list') | list) %}
{% endmacro %}

{#-
How old a raw table is, for dbt source freshness. An optional table that the shop does not
have, and a table without `ingested_at`, are no failure: their age cannot be known, and the
log says so.

Arguments:
  source           the raw table
  loaded_at_field  expression that says when a row was loaded
  filter           restriction on the rows, may be null
-#}
{% macro duckdb__collect_freshness(source, loaded_at_field, filter) %}
    {#- Asked of the database: dbt does not fill its cache of relations for this command. -#}
    {% set columns = [] %}
    {% for column in adapter.get_columns_in_relation(source) %}
        {% do columns.append(column.name | lower) %}
    {% endfor %}
    {% if 'ingested_at' in columns or 'ingested_at' not in loaded_at_field
        or (not columns and source.identifier in ['orders', 'order_items']) %}
        {% do return(default__collect_freshness(source, loaded_at_field, filter)) %}
    {% endif %}
    {% do log('freshness: ' ~ source.identifier ~ (' has no column ingested_at' if columns
        else ' is no table of this shop') ~ ', so its age is not known', info=true) %}
    {% do return(default__collect_freshness('(select 1)', current_timestamp(), none)) %}
{% endmacro %}

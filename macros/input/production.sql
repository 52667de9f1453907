{#- Slim CI: the target `ci` builds into a file of its own and reads all else from the warehouse of
    production, which is attached read-only; see docs/slim_ci.md. -#}

{#- The database of production, where the target is `ci` and dbt defers to it; otherwise none. -#}
{% macro production() %}
    {% if not execute or target.name != 'ci' or not invocation_args_dict.get('defer') %}
        {% do return(none) %}
    {% endif %}
    {% set found = run_query('select database_name from duckdb_databases() where readonly'
        ~ ' and not internal order by database_oid').columns[0].values() %}
    {% if not found %}
        {% do perennial.stop("the target ci must attach production's warehouse read-only; see the "
            ~ 'target of that name in the profiles.yml of Perennial.') %}
    {% endif %}
    {% do return(found[0]) %}
{% endmacro %}


{#-
Before a run: have production's list of forgotten people in this warehouse, and views of its raw
tables where they are neither seeds nor models, which dbt finds by itself.

Arguments:
  database  the database of production
-#}
{% macro read_from_production(database) %}
    {% set schemas = ['erasure'] %}
    {% if perennial.setting('shop') in ['files', 'tables'] %}
        {% do schemas.append(perennial.setting('raw_schema') | lower) %}
    {% endif %}
    {% for schema, table in run_query("select table_schema, table_name from information_schema.tables"
        ~ " where table_catalog = '" ~ database | replace("'", "''") ~ "' and lower(table_schema) in ('"
        ~ schemas | join("', '") ~ "')").rows %}
        {% do run_query('create schema if not exists ' ~ schema) %}
        {#- A table, because the list grows with the raw orders of those who are on it. -#}
        {% set kind = 'table' if schema == 'erasure' else 'view' %}
        {% set name = schema ~ '.' ~ adapter.quote(table) %}
        {% do run_query('create or replace ' ~ kind ~ ' ' ~ name ~ ' as select * from '
            ~ adapter.quote(database) ~ '.' ~ name) %}
    {% endfor %}
{% endmacro %}

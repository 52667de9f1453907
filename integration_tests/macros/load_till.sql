{#- Stands for whatever loads this shop's tables: a real project has a loader, and no such macro. -#}
{% macro load_till() %}
    create schema if not exists {{ var('till_schema') }};
    {%- for table in ['receipts', 'lines', 'clients'] %}
    create or replace table {{ var('till_schema') }}.{{ table }} as
    select * from read_csv('till/{{ table }}.csv', header = true);
    {%- endfor %}
{% endmacro %}

{#- No row's key is null in part, and no two rows have the same. -#}
{% test primary_key(model, columns=none, column_name=none) %}
{%- set key = columns or [column_name] -%}
select
    {{ key | join(', ') }},
    count(*) as n_rows
from {{ model }}
group by {{ key | join(', ') }}
having
    count(*) > 1
    {%- for column in key %}
    or {{ column }} is null
    {%- endfor %}
{% endtest %}

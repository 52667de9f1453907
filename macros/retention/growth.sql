{#- How many days the rolling windows of stickiness have; 31 at most. -#}
{% macro stickiness_days() %}
    {% do return([7, 28]) %}
{% endmacro %}

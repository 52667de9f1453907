{#-
Whose timeline an event belongs to. A device keeps its timeline through logins; without its
cookie there is the customer, and for an unknown one the sender's own session.

Arguments:
  events   alias of the relation that has the event
-#}
{% macro visitor_id(events) -%}
    coalesce(
        'device:' || {{ events }}.anonymous_id,
        'customer:' || {{ events }}.customer_id,
        'session:' || {{ events }}.session_id
    )
{%- endmacro %}
